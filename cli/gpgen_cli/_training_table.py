"""The table that ``gpgen train`` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backdrop.training import Summary
    from gpgen.observer import Difficulty

__all__ = ["results_table"]


def results_table(
    summaries: tuple[Summary, ...], ideal: Difficulty | None, tested: str
) -> RenderableType:
    """Return a row for each method and number of training images, and one for what is possible."""
    from rich.table import Table

    from backdrop.training import IDEAL, MethodSummary, of_ideal

    sizes = list(dict.fromkeys(one.train_size for one in summaries))
    several = len(sizes) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    if several:
        table.add_column("images", justify="right")
    table.add_column("method", no_wrap=True)
    components = [f"component {k + 1}" for k in range(len(summaries[0].components))]
    if isinstance(summaries[0], MethodSummary):
        names = ["test accuracy", *components, "training accuracy", "above none, paired"]
    else:
        names = ["test relative error", "R^2", *components, "training error", "below none, paired"]
    for name in (*names, "training, s"):
        table.add_column(name, justify="right", no_wrap=name[:4] in ("test", "comp"))
    for one in summaries:
        if isinstance(one, MethodSummary):
            numbers = [one.accuracy, *one.components, one.training_accuracy]
        else:
            numbers = [one.relative_error, one.r2, *one.components, one.training_error]
        table.add_row(
            *([f"{one.train_size:,}"] if several else []),
            one.method,
            *map(str, numbers),
            "" if one.gain is None else str(one.gain),
            "" if math.isnan(one.seconds) else f"{one.seconds:.2g}",
        )
    if ideal is not None:
        estimates = (ideal.estimate, *(each.estimate for each in ideal.components))
        accuracies = [str(of_ideal(each)) for each in estimates]
        table.add_row(*([""] if several else []), IDEAL, *accuracies)
    n = summaries[0].n
    means = f"means over {n} seeds with 95 % intervals" if n > 1 else "of one seed"
    trained = "" if several else f"{sizes[0]:,} training images, "
    table.caption = f"{means}; {trained}tested on {tested}"
    table.caption_justify = "left"
    return table
