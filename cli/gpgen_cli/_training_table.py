"""The table that ``gpgen train`` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from backdrop.training import MethodSummary
    from gpgen.observer import Difficulty

__all__ = ["results_table"]


def results_table(
    summaries: tuple[MethodSummary, ...], ideal: Difficulty | None, tested: str
) -> RenderableType:
    """Return a row for each method and number of training images, and one for what is possible."""
    from rich.table import Table

    from backdrop.training import IDEAL, of_ideal

    sizes = list(dict.fromkeys(one.train_size for one in summaries))
    several = len(sizes) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    if several:
        table.add_column("images", justify="right")
    table.add_column("method", no_wrap=True)
    table.add_column("test accuracy", justify="right", no_wrap=True)
    for component in range(len(summaries[0].components)):
        table.add_column(f"component {component + 1}", justify="right", no_wrap=True)
    table.add_column("training accuracy", justify="right")
    table.add_column("above none, paired", justify="right")
    table.add_column("training, s", justify="right")
    for one in summaries:
        table.add_row(
            *([f"{one.train_size:,}"] if several else []),
            one.method,
            str(one.accuracy),
            *map(str, one.components),
            str(one.training_accuracy),
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
