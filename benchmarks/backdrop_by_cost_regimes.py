"""On what images, for how long and by whom `benchmarks.backdrop_by_cost` trains."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from backdrop.training import Source
from benchmarks.backdrop_by_cost_training import Contender

__all__ = ["CONTENDERS", "DEFAULT", "REGIMES", "Regime"]

RECIPE = Path(__file__).with_name("two-scale-512.toml")

CONTENDERS = {
    "no mask": Contender(12),
    "small batches": Contender(4),
    "checkpoint": Contender(12, checkpoint=True),
    "dropout": Contender(4, dropout=0.6),
    "crops": Contender(12, crop=0.5),
    "sparse, p = 0.95": Contender(12, p=0.95),
    "sparse, keep = 3": Contender(12, keep=3),
    "sparse, keep = 3, small batches": Contender(4, keep=3),
}
LARGE = {
    **{name: CONTENDERS[name] for name in ("no mask", "small batches", "checkpoint", "crops")},
    "sparse, keep = 3, tile = 2048": Contender(12, keep=3, tile=2048),
    "sparse, keep = 48, tile = 2048": Contender(12, keep=48, tile=2048),
}


@dataclass(frozen=True)
class Regime:
    """Images to learn from, and the seconds that there are for it: none, and only costs count.

    Attributes
    ----------
    train_size, held_out, on_the_way
        Images to train on; to test the last network on; and networks before it.
    seconds
        For each run.
    side
        Pixels of `recipe`'s images a side, if other than the recipe says.
    contenders, untrained
        What takes part, and whose costs alone are measured.
    """

    train_size: int
    seconds: float
    side: int | None = None
    held_out: int = 120
    on_the_way: int = 40
    contenders: dict[str, Contender] = field(default_factory=lambda: CONTENDERS)
    untrained: tuple[str, ...] = ()
    recipe: str = str(RECIPE)

    def source(self, device: str) -> Source:
        """Return where its images come from."""
        if self.side is None:
            return Source(self.recipe, device=device)
        text = Path(self.recipe).read_text().replace("[512, 512]", f"[{self.side}, {self.side}]")
        with tempfile.TemporaryDirectory() as folder:
            larger = Path(folder) / "recipe.toml"
            larger.write_text(text)
            return Source(str(larger), device=device)


REGIMES = {
    "two-scale-512": Regime(24, 5.0),
    "two-scale-1024": Regime(24, 1.0, 1024),
    "two-scale-2048": Regime(24, 1.5, 2048),
    "two-scale-4096": Regime(
        12, 2.0, 4096, 40, 40, contenders=LARGE, untrained=("no mask", "checkpoint")
    ),
    "two-scale-8192": Regime(12, 0.0, 8192, contenders=LARGE),
}
DEFAULT = {"cpu": ["two-scale-512"], "cuda": [name for name in REGIMES if name != "two-scale-512"]}
