"""``python -m gpgen_cli`` is ``gpgen``."""

import sys

from gpgen_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
