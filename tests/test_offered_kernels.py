"""Kernels of other packages, offered by an entry point."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from test_docs import blocks

from gpgen import Recipe, Sampler
from gpgen.errors import RecipeError
from gpgen.exact.offered_kernels import kernel_names

KERNELS = '''
import itertools
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass(frozen=True)
class Wave:
    """exp(-r) cos(r / smoothness)."""
    smoothness: float
    name: ClassVar[str] = "wave"
    def covariance(self, r):
        return np.exp(-r) * np.cos(r / self.smoothness)

@dataclass(frozen=True)
class Band:
    name: ClassVar[str] = "band"
    def spectrum(self, k, per_pixel):
        return ((k > 0.9) & (k < 1.1)).astype(float)

@dataclass(frozen=True)
class Drifting:
    name: ClassVar[str] = "drifting"
    count: ClassVar = itertools.count()
    def covariance(self, r):
        return np.exp(-r * (1 + 1e-9 * next(self.count)))

@dataclass(frozen=True)
class Large:
    name: ClassVar[str] = "large"
    def covariance(self, r):
        return 2 * np.exp(-r)

@dataclass(frozen=True)
class Failing:
    name: ClassVar[str] = "failing"
    def covariance(self, r):
        raise KeyError("oh")

@dataclass(frozen=True)
class FailingLarge:
    name: ClassVar[str] = "failinglarge"
    def covariance(self, r):
        if r.size > 1000:
            raise ValueError("too many")
        return np.exp(-r)

@dataclass(frozen=True)
class Relative:
    name: ClassVar[str] = "relative"
    def covariance(self, r):
        return np.exp(-10 * r / r.max())

@dataclass(frozen=True)
class Turning:
    name: ClassVar[str] = "turning"
    count: ClassVar = itertools.count()
    def covariance(self, r):
        return np.exp(-r * (1.0 if next(self.count) < 8 else 1.001))

@dataclass(frozen=True)
class Flat:
    name: ClassVar[str] = "flat"
    def covariance(self, r):
        return np.exp(-r).ravel()

@dataclass(frozen=True)
class Complex:
    name: ClassVar[str] = "complex"
    def covariance(self, r):
        return np.exp(-r) + 0j

@dataclass(frozen=True)
class Gap:
    name: ClassVar[str] = "gap"
    def covariance(self, r):
        return np.where(r == 0.25, np.nan, np.exp(-r))

@dataclass(frozen=True)
class Narrow:
    name: ClassVar[str] = "narrow"
    def spectrum(self, k, per_pixel):
        return 1.0 * (np.abs(k - 10 ** (-3 + 600 / 199)) < 1e-4)  # between a torus's waves

@dataclass(frozen=True)
class Strict:
    smoothness: float
    name: ClassVar[str] = "strict"
    def __post_init__(self):
        if self.smoothness > 3:
            raise KeyError("at most 3")
    def covariance(self, r):
        return np.exp(-r)

@dataclass(frozen=True)
class Other:
    period: float
    name: ClassVar[str] = "other"
    def covariance(self, r):
        return np.exp(-r)

@dataclass(frozen=True)
class Nameless:
    def covariance(self, r):
        return np.exp(-r)

class Thawed:
    def covariance(self, r):
        return np.exp(-r)

@dataclass(frozen=True)
class Empty:
    pass
'''


def offer(folder: Path, module: str, code: str, kernels: dict[str, str]) -> None:
    (folder / f"{module}.py").write_text(code)
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    lines = [f"{name} = {module}:{kernel}" for name, kernel in kernels.items()]
    (information / "entry_points.txt").write_text("[gpgen.kernels]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def _offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*re.findall(r"^class (\w+)", KERNELS, re.MULTILINE), "Missing"]
    offer(tmp_path, "wavy_kernels", KERNELS, {name.lower(): name for name in names})
    monkeypatch.syspath_prepend(str(tmp_path))


def recipe_of(kernel: str, **numbers: float) -> Recipe:
    component = {"kernel": kernel, "length_scales": [4.0], **numbers}
    return Recipe.from_dict({"name": "theirs", "shape": [64, 64], "components": [component]})


@pytest.mark.usefixtures("_offered")
def test_a_covariance_of_another_package_is_drawn() -> None:
    assert {"rbf", "wave", "band"} <= set(kernel_names())
    recipe = recipe_of("wave", smoothness=2.0).replace(standardize=False)
    assert recipe.accuracy.covariance_error <= 1e-6
    images = Sampler(recipe).images(0, 200).astype(np.float64)
    found = (images[:, :, 3:] * images[:, :, :-3]).mean()
    assert found == pytest.approx(math.exp(-0.75) * math.cos(0.375), abs=0.02)


@pytest.mark.usefixtures("_offered")
def test_a_spectrum_of_another_package_is_drawn() -> None:
    images = Sampler(recipe_of("band")).images(0, 4)
    power = np.abs(np.fft.rfft2(images)) ** 2
    k = 4 * np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
    inside = (k > 0.85) & (k < 1.15)
    assert power[:, inside].mean() > 50 * power[:, ~inside].mean()


@pytest.mark.usefixtures("_offered")
@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("wave", "kernel 'wave' needs smoothness"),
        ("drifting", "kernel 'drifting' of an installed package isn't the same twice"),
        ("large", "doesn't give a covariance that is 1 at distance 0"),
        ("failing", r"raises KeyError\('oh'\)"),
        ("failinglarge", r"raises ValueError\('too many'\)"),
        ("relative", "depend on those beside them"),
        ("turning", "isn't the same twice"),
        ("flat", r"gives values of shape \(\d+,\) for \(\d+, \d+\)"),
        ("complex", "gives complex128"),
        ("gap", "not finite"),
        ("narrow", "not 0 everywhere"),
        ("other", "has the number 'period', and recipes know only smoothness"),
        ("thawed", "is no frozen dataclass"),
        ("empty", "has neither covariance nor spectrum"),
        ("missing", "can't be imported"),
        ("nobody's", "unknown kernel"),
    ],
)
def test_a_kernel_that_cannot_be_used_is_refused_in_one_line(kernel: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_of(kernel)


@pytest.mark.usefixtures("_offered")
def test_what_a_kernel_of_another_package_refuses_is_said_in_one_line() -> None:
    with pytest.raises(RecipeError, match="refuses smoothness = 5: 'at most 3'"):
        recipe_of("strict", smoothness=5.0)
    with pytest.raises(RecipeError, match=r"kernel 'nameless' .* wrong by"):
        recipe_of("nameless").replace(
            components=[{"kernel": "nameless", "length_scales": [900.0]}], standardize=False
        )


def test_the_kernel_of_the_docs_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, code = blocks("docs/kernels.md", "python")
    offer(tmp_path, "my_kernels", code, {"spherical": "Spherical"})
    monkeypatch.syspath_prepend(str(tmp_path))
    assert recipe_of("spherical").accuracy.covariance_error <= 1e-6
