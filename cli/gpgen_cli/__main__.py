"""``python -m gpgen_cli`` is ``gpgen``."""

from gpgen_cli.main import program

if __name__ == "__main__":
    program()
