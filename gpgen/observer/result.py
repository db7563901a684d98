"""What is known of how hard a recipe is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gpgen.exact.texture import LengthScale

__all__ = [
    "Accuracies",
    "ComponentBounds",
    "ComponentDifficulty",
    "Difficulty",
    "Estimate",
    "LengthScaleBound",
    "LengthScaleBounds",
    "Wished",
]


@dataclass(frozen=True)
class Estimate:
    """An accuracy, and its standard error."""

    accuracy: float
    error: float


@dataclass(frozen=True)
class Wished:
    """A length-scale that would give the accuracy that was wished for.

    Parameters
    ----------
    accuracy
        What was wished for.
    length_scale
        In pixels.
    instead_of
        The component's last length-scale, in whose place it would stand.
    """

    accuracy: float
    length_scale: LengthScale
    instead_of: LengthScale


@dataclass(frozen=True)
class ComponentDifficulty:
    """How well the ideal observer tells one component's choices apart.

    Parameters
    ----------
    choices
        Their names: length-scales in pixels, and what else differs.
    estimate
        Its accuracy; None if there is no choice.
    bound
        Bhattacharyya's, at known amplitudes: the accuracy isn't below. Where components are
        standardized it is no bound: their amplitudes are unknown, so the accuracy may be below.
    by_side
        Accuracy by the image's pixels, other things equal.
    by_images
        Accuracy by how many images of one class are judged together.
    wished
        The length-scale for the accuracy that was wished for, if one was.
    """

    choices: tuple[str, ...]
    estimate: Estimate | None
    bound: float | None
    by_side: dict[tuple[int, ...], Estimate]
    by_images: dict[int, Estimate]
    wished: Wished | None = None


@dataclass(frozen=True)
class Difficulty:
    """How well the ideal observer tells a recipe's classes apart.

    Parameters
    ----------
    estimate
        Its accuracy with all classes.
    bound
        Bhattacharyya's, at known amplitudes: the accuracy isn't below. Where components are
        standardized it is no bound: their amplitudes are unknown, so the accuracy may be below.
    components
        Each component by itself, the others unknown.
    modes, modes_by_axis
        How many modes it looked at, and up to which of each axis.
    converged
        Whether twice as many modes of each axis would leave the accuracy within 0.002. If not, it
        is at least as large as said.
    noise
        The deviation of white noise, as a part of the images' deviation.
    samples
        How many images were simulated.
    by_side, by_images
        As in `ComponentDifficulty`.
    """

    estimate: Estimate
    bound: float
    components: tuple[ComponentDifficulty, ...]
    modes: int
    modes_by_axis: tuple[int, ...]
    converged: bool
    noise: float
    samples: int
    by_side: dict[tuple[int, ...], Estimate]
    by_images: dict[int, Estimate]

    @property
    def accuracy(self) -> float:
        """The accuracy with all classes."""
        return self.estimate.accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``gpgen difficulty --json`` prints them."""
        return {
            **_plain(self.estimate, self.bound, self.modes, self.by_side, self.by_images),
            "components": [
                {
                    "choices": list(each.choices),
                    **_plain(each.estimate, each.bound, self.modes, each.by_side, each.by_images),
                    "target": asdict(each.wished) if each.wished else None,
                }
                for each in self.components
            ],
            "modes_by_axis": list(self.modes_by_axis),
            "converged": self.converged,
            "noise": self.noise,
            "samples": self.samples,
        }


def _plain(
    estimate: Estimate | None,
    bound: float | None,
    modes: int,
    by_side: dict[tuple[int, ...], Estimate],
    by_images: dict[int, Estimate],
) -> dict[str, Any]:
    return {
        "accuracy": estimate.accuracy if estimate else None,
        "error": estimate.error if estimate else None,
        "bound": bound,
        "modes": modes,
        "by_side": [{"shape": list(shape), **asdict(each)} for shape, each in by_side.items()],
        "by_images": [{"images": n, **asdict(each)} for n, each in by_images.items()],
    }


@dataclass(frozen=True)
class Accuracies:
    """What one simulation found: with all classes, and by component (None for no choice)."""

    whole: Estimate
    components: tuple[Estimate | None, ...]

    @property
    def of_components(self) -> tuple[float, ...]:
        """The accuracies of those components that offer a choice."""
        return tuple(each.accuracy for each in self.components if each is not None)


@dataclass(frozen=True)
class LengthScaleBound:
    """How exactly one length-scale can be told from one image.

    Parameters
    ----------
    length_scale
        In pixels.
    error
        The least standard error of an unbiased estimate, as a part of the length-scale.
    """

    length_scale: float
    error: float

    @property
    def pixels(self) -> float:
        """The error in pixels."""
        return self.error * self.length_scale


@dataclass(frozen=True)
class ComponentBounds:
    """Bounds for one component.

    Parameters
    ----------
    length_scales
        Their name: 3..12.
    bounds
        At the low end, in the middle and at the high end; none if its length-scale isn't drawn.
    """

    length_scales: str
    bounds: tuple[LengthScaleBound, ...]


@dataclass(frozen=True)
class LengthScaleBounds:
    """How exactly the drawn length-scales of a recipe can be told from one image.

    Parameters
    ----------
    components
        Each component by itself, the others' length-scales in the middle of their ranges, and
        unknown.
    modes
        How many modes were looked at.
    noise
        The deviation of white noise, as a part of the images' deviation.
    """

    components: tuple[ComponentBounds, ...]
    modes: int
    noise: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as ``gpgen difficulty --json`` prints them."""
        return {
            "components": [
                {
                    "length_scales": each.length_scales,
                    "bounds": [{**asdict(b), "pixels": b.pixels} for b in each.bounds],
                }
                for each in self.components
            ],
            "modes": self.modes,
            "noise": self.noise,
        }
