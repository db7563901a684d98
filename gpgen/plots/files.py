"""Figures as files: PNG, PDF or SVG."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

from gpgen.errors import TargetError, UsageError
from gpgen.figures import new_figure
from gpgen.io.failures import reason, remedy
from gpgen.io.files import replace_file
from gpgen.io.output_files import check_output_file
from gpgen.io.user_paths import AnyText, given, target_of, text_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_picture", "save"]

_FORMATS: Final = (".png", ".pdf", ".svg")


def check_picture(path: AnyText) -> None:
    """Refuse a picture that `save` couldn't write, before it is drawn.

    Raises
    ------
    MissingPackageError
        If matplotlib isn't installed.
    UsageError
        If the suffix is no picture's.
    TargetError
        If the file can't be written.
    """
    _check_suffix(path)
    check_output_file(given(path))
    new_figure(1, 1)


def save(figure: Figure, path: AnyText, *, dpi: int = 200) -> None:
    """Write a figure as PNG, PDF or SVG, by its suffix; equal figures give equal files.

    Raises
    ------
    UsageError
        If the suffix is none of these.
    TargetError
        If the file can't be written.
    """
    from matplotlib import rc_context

    target = target_of(path)
    suffix = _check_suffix(path)
    dated = {".pdf": "CreationDate", ".svg": "Date"}.get(suffix)
    page = BytesIO()
    with rc_context({"svg.hashsalt": "gpgen", "pdf.fonttype": 42, "svg.fonttype": "none"}):
        metadata = {dated: None} if dated else None
        figure.savefig(page, format=suffix[1:], dpi=dpi, metadata=metadata)
    try:
        replace_file(target, page.getvalue(), target.parent)
    except OSError as error:
        raise TargetError(
            f"the picture {text_of(path)!r} can't be written: {reason(error)}",
            f"{remedy(error) or 'make its folder writable'}, or choose another one",
        ) from error


def _check_suffix(path: AnyText) -> str:
    suffix = given(path).suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(
            f"no kind of picture belongs to {text_of(path)!r}",
            f"end the name in {', '.join(_FORMATS)}",
        )
    return suffix
