"""Another package of the name ``backdrop``.

An old configuration system has that name in the Python Package Index. It installs one file,
``backdrop/__init__.py``, where this package has its own, so the one installed last wins, and
uninstalling it takes that file away.
"""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

from gpgen.errors import MissingPackageError

__all__ = ["check"]


def check() -> None:
    """Warn if the other package is installed, too.

    Raises
    ------
    MissingPackageError
        If its file has taken the place of this package's.
    """
    try:
        other = version("backdrop")
    except PackageNotFoundError:
        return
    mend = "run `pip uninstall backdrop`, then `pip install --force-reinstall --no-deps gpgen`"
    if not hasattr(sys.modules["backdrop"], "SparseBackward"):
        message = f"the package backdrop {other}, a configuration system, has replaced gpgen's"
        raise MissingPackageError(message, mend)
    warnings.warn(
        f"the package backdrop {other}, a configuration system, is installed, too: "
        f"what one of the two does to its files harms the other; {mend}",
        stacklevel=3,
    )
