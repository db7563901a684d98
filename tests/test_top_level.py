"""What `import gpgen` offers, and what it costs."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from store_tools import tiny

import gpgen
from gpgen.errors import RecipeError


def test_every_public_name_is_there() -> None:
    for name in gpgen.__all__:
        assert getattr(gpgen, name) is not None
    assert set(gpgen.__all__) <= set(dir(gpgen))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = gpgen.nothing_of_the_kind


@pytest.mark.parametrize("name", ["golkar2018", "publish", "report"])
def test_what_is_imported_late_is_listed(name: str) -> None:
    script = f"import gpgen.{name} as m; print(set(m.__all__) <= set(dir(m)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


def test_every_error_is_at_the_top() -> None:
    for name in set(gpgen.errors.__all__) - {"Argument", "printable", "warn_caller", "worded"}:
        assert getattr(gpgen, name) is getattr(gpgen.errors, name)


def test_importing_gpgen_imports_nothing_heavy() -> None:
    script = (
        "import sys, gpgen; gpgen.__all__; dir(gpgen)\n"
        "heavy = {'numpy', 'scipy', 'dask', 'h5py', 'msgspec', 'matplotlib', 'rich', 'zarr',\n"
        "         'xarray', 'torch'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


FIELDS = tiny().to_dict()


def test_a_recipe_may_be_a_dict_wherever_one_is_taken(tmp_path: Path) -> None:
    from gpgen.torch import GeneratedTextures

    expected = gpgen.sample(tiny(), index=3).image
    assert (gpgen.sample(FIELDS, index=3).image == expected).all()
    assert (gpgen.Sampler(FIELDS).images(3, 4)[0] == expected).all()
    assert gpgen.plan(FIELDS, 8, tmp_path / "d.zarr").recipe == tiny()
    with gpgen.make(FIELDS, 8, tmp_path / "d.zarr") as dataset:
        assert dataset.recipe == tiny()
        assert (dataset[3].image == expected).all()
    assert (GeneratedTextures(FIELDS, 8)[3][0].numpy()[0] == expected).all()
    assert gpgen.plots.recipe_sheet(FIELDS).axes


def test_a_built_in_name_is_taken_wherever_a_recipe_is() -> None:
    import torch
    from torch import nn

    import backdrop
    from backdrop.models import TwoScaleCNN

    model = TwoScaleCNN.from_recipe("two-scale-mini", width=2)
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 4)
    layers = [m for _ in range(5) for m in (nn.Conv2d(1, 1, 7, padding=3), nn.ReLU())]
    inserted = backdrop.insert(nn.Sequential(*layers), "two-scale-mini", (1, 64, 64))
    assert [place.p for place in inserted.places] == [0.5, 0.5]


def test_a_dict_that_is_no_recipe_is_refused_by_field() -> None:
    with pytest.raises(RecipeError, match="did you mean 'shape'"):
        gpgen.sample({**FIELDS, "shap": [2]}, index=0)


def test_one_probability_is_the_default_everywhere() -> None:
    import inspect

    import backdrop
    from backdrop import functional
    from backdrop.models import TwoScaleCNN

    for takes in (backdrop.Backdrop, functional.backdrop, backdrop.insert, TwoScaleCNN):
        assert inspect.signature(takes).parameters["p"].default == 0.5, takes


def test_a_figure_pickles_with_what_shows_it(tmp_path: Path) -> None:
    figure = gpgen.plots.recipe_sheet(FIELDS, columns=1)
    again = pickle.loads(pickle.dumps(figure))  # noqa: S301
    assert again._repr_png_().startswith(b"\x89PNG")
