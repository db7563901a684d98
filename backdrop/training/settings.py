"""What a run is: its method and every number that it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from backdrop.functional import check_probability
from gpgen.errors import UsageError

__all__ = ["METHODS", "TARGETS", "Method", "Settings", "Target", "settings_from"]

Method = Literal["power-spectrum", "gabor", "batch-norm", "none", "dropout", "crop", "backdrop"]
METHODS: tuple[Method, ...] = get_args(Method)
_FITTED_AT_ONCE = ("power-spectrum", "gabor")

Target = Literal["label", "length_scale", "length_scales"]
TARGETS: tuple[Target, ...] = get_args(Target)

# Best of those tried on validation images: docs/results.md.
_TUNED: dict[Method, dict[str, Any]] = {
    "none": {"learning_rate": 0.02, "batch_size": 6},
    "backdrop": {"learning_rate": 0.02},
    "dropout": {"learning_rate": 0.01},
    "crop": {"learning_rate": 0.003},
    "batch-norm": {"learning_rate": 0.003},
    "power-spectrum": {},
    "gabor": {},
}


@dataclass(frozen=True)
class Settings:
    """All that a training run depends on but its seed and its data.

    Attributes
    ----------
    method
        ``none``; ``backdrop``: masks at the components' length-scales;
        ``dropout``: of the averages, of channels, or of both; ``crop``: each
        image is cut to a random window each time. These four train one network.
        ``batch-norm``: `backdrop.baselines.PlainCNN`. ``power-spectrum`` and ``gabor``: a linear
        discriminant on a `PowerSpectrum` or a `GaborBank`, fitted at once.
    masks
        Masking probability at each component's length-scale, in the recipe's
        order; 0 for no mask there. One number serves all; none means 0.99 at
        the largest length-scale only.
    dropout
        Probability that an average is zeroed.
    channel_dropout
        Probability that a channel is zeroed, at the places where masks would
        be; written like `masks`.
    crop
        Side of the window as a fraction of the image's.
    train_size, test_size
        Images, a multiple of the number of classes.
    split
        Which images the trained network is tested on. Compare settings on
        ``validation``; look at ``test`` once, when all is decided.
    epochs, batch_size, learning_rate
        Of Adam; the learning rate rises for a tenth of the steps and falls to 0
        along a cosine.
    target
        What the network learns: ``label``, the class, by the cross entropy; ``length_scales``,
        those that the recipe draws from ranges, by the mean squared error of their natural
        logarithms; ``length_scale``, the same where the recipe draws one only.
    """

    method: Method = "none"
    masks: tuple[float, ...] = ()
    dropout: float = 0.6
    channel_dropout: tuple[float, ...] = (0.0,)
    crop: float = 0.75
    train_size: int = 60
    test_size: int = 400
    split: str = "test"
    epochs: int = 80
    batch_size: int = 15
    learning_rate: float = 0.01
    target: Target = "label"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no method is called {self.method!r}", f"use {', '.join(METHODS)}")
        if self.target not in TARGETS:
            raise UsageError(f"there is no target {self.target!r}", f"use {', '.join(TARGETS)}")
        for p in (*self.masks, self.dropout, *self.channel_dropout):
            check_probability(p)
        for name in ("epochs", "batch_size", "train_size", "test_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", "choose at least 1")
        if self.batch_size == 1:
            raise UsageError(
                "batch_size is 1, of which batch normalization can't tell the spread",
                "choose at least 2",
            )
        # Ten times more is Adam's first step, which float32 must hold.
        if not 0 < self.learning_rate < 3e37:
            raise UsageError(
                f"the learning rate is {self.learning_rate}", "choose one above 0, like 0.01"
            )
        if self.split == "train":
            raise UsageError(
                "split 'train' is what is trained on, and no test", "name another one, such as test"
            )
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop is {self.crop}", "choose a fraction with 0 < crop <= 1")
        if self.batch_size > self.train_size and not self.fitted_at_once:
            raise UsageError(
                f"batches of {self.batch_size} are larger than the training set of "
                f"{self.train_size}",
                "choose a batch_size no larger than train_size",
            )

    @property
    def fitted_at_once(self) -> bool:
        """Whether the method has no steps, so that epochs, batches and rate don't matter."""
        return self.method in _FITTED_AT_ONCE

    @property
    def passes(self) -> int:
        """How many epochs a run has: one, if the method is fitted at once."""
        return 1 if self.fitted_at_once else self.epochs

    @classmethod
    def tuned(cls, method: str, **fields: Any) -> Settings:  # noqa: ANN401
        """Return what was found best for a method on two-scale-mini, with some fields replaced.

        Batches are no larger than the training set, unless `batch_size` is given.

        Raises
        ------
        UsageError
            If there is no such method, or a field is out of its range.
        """
        if method not in METHODS:
            raise UsageError(f"no method is called {method!r}", f"use {', '.join(METHODS)}")
        chosen = {"method": method, **_TUNED[method], **fields}
        if "batch_size" not in fields:
            batch = chosen.get("batch_size", cls.batch_size)
            chosen["batch_size"] = max(2, min(batch, chosen.get("train_size", cls.train_size)))
        return cls(**chosen)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them; the target only if it isn't the label."""
        fields = {
            **asdict(self),
            "masks": list(self.masks),
            "channel_dropout": list(self.channel_dropout),
        }
        if self.target == "label":
            del fields["target"]
        return fields


def settings_from(fields: Mapping[str, Any]) -> Settings:
    """Return the settings that `Settings.to_dict` described."""
    lists = {name: tuple(fields[name]) for name in ("masks", "channel_dropout")}
    return Settings(**{**fields, **lists})
