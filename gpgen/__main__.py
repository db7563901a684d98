"""``python -m gpgen`` is ``gpgen``."""

from __future__ import annotations

if __name__ == "__main__":
    # The one place where the library knows of the command line, which has to be there for it.
    from gpgen_cli.main import program

    program()
