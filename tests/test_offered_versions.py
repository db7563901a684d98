"""Another version of a kernel of another package: noticed wherever pixels are drawn again."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from dask_cluster import DaskCluster
from publish_help import publication
from test_offered_kernels import offer

import gpgen
from gpgen import Recipe
from gpgen.errors import ClusterError, DatasetError, TargetError, UsageError
from gpgen.exact.offered_roots import roots_sha256
from gpgen.publish import package, regenerate
from gpgen.virtual_store.drawing_processes import drawn_by_processes
from gpgen.virtual_store.opening import keys_of

KERNEL = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass(frozen=True)
class Dune:
    """exp(-r), and in its second version a trifle less."""
    name: ClassVar[str] = "dune"
    def covariance(self, r):
        return np.exp(-r * STEEPNESS)
'''
RECIPE = {
    "name": "dunes",
    "shape": [64],
    "components": [
        {"kernel": "rbf", "length_scales": [3.0]},
        {"kernel": "dune", "length_scales": [4.0, 8.0]},
    ],
}
MAKE = "import gpgen, json, sys; gpgen.make(json.loads(sys.argv[1]), 6, sys.argv[2], shard_size=2)"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with versions of one package; the second is what this process has."""
    folders = {}
    for version, steepness in (("1", "1.0"), ("2", "1.0001")):
        folders[version] = tmp_path_factory.mktemp(f"version-{version}")
        offer(folders[version], "dunes", KERNEL.replace("STEEPNESS", steepness), {"dune": "Dune"})
    return folders


@pytest.fixture(scope="module")
def recipe(versions: dict[str, Path]) -> Recipe:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(versions["2"]))
        yield Recipe.from_dict(RECIPE)


@pytest.fixture(scope="module")
def drawn_before(versions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Datasets of the first version, in every format."""
    folder = tmp_path_factory.mktemp("drawn")
    for out in ("d.zarr", "d.h5", "d-{shard:05d}.h5"):
        run(versions["1"], MAKE, json.dumps(RECIPE), str(folder / out))
    return folder


def run(version: Path, code: str, *arguments: str) -> str:
    paths = os.pathsep.join([str(version), *sys.path])
    words = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("out", ["d.zarr", "d.h5", "d-{shard:05d}.h5"])
def test_a_dataset_of_another_version_isnt_drawn_again(
    recipe: Recipe, drawn_before: Path, tmp_path: Path, out: str
) -> None:
    path = drawn_before / out
    assert gpgen.verify(path)
    with pytest.raises(UsageError, match="drawn with another version of the kernel dune"):
        gpgen.verify(path, regenerate=2)
    with pytest.raises(TargetError, match=r"roots of the kernels of other packages '.*' -> '"):
        gpgen.make(recipe, 6, path, shard_size=2, resume=True)
    gpgen.convert(path, tmp_path / "copy.zarr").close()  # copied, and what it says of itself too
    with gpgen.open_dataset(path) as old, gpgen.open_dataset(tmp_path / "copy.zarr") as copy:
        assert copy.manifest.roots == old.manifest.roots != roots_sha256(recipe.texture)


@pytest.mark.slow
def test_a_deposit_of_another_version_isnt_made_again(
    recipe: Recipe, drawn_before: Path, tmp_path: Path
) -> None:
    assert recipe.class_count == 2
    package(drawn_before / "d.zarr", publication(), tmp_path / "deposit", recipe_only=True)
    with pytest.raises(DatasetError, match="another version of the kernel dune"):
        regenerate(tmp_path / "deposit", tmp_path / "again.zarr")


def test_the_same_version_is_drawn_and_resumed_as_ever(recipe: Recipe, tmp_path: Path) -> None:
    gpgen.make(recipe, 6, tmp_path / "d.zarr").close()
    attributes = json.loads((tmp_path / "d.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["roots_sha256"] == roots_sha256(recipe.texture)
    assert gpgen.verify(tmp_path / "d.zarr", regenerate="all")
    gpgen.make(recipe, 6, tmp_path / "d.zarr", resume=True).close()
    package(tmp_path / "d.zarr", publication(), tmp_path / "deposit", recipe_only=True)
    regenerate(tmp_path / "deposit", tmp_path / "again.zarr").close()
    assert roots_sha256(recipe.replace(shape=[65]).texture) != roots_sha256(recipe.texture)


def test_datasets_of_gpgens_own_kernels_say_nothing_of_it(tmp_path: Path) -> None:
    fields = {**RECIPE, "components": RECIPE["components"][:1]}
    with gpgen.make(fields, 4, tmp_path / "d.zarr") as dataset:
        assert dataset.manifest.roots is None
    package(tmp_path / "d.zarr", publication(), tmp_path / "deposit")
    for text in ("d.zarr/zarr.json", "deposit/dataset.json"):
        assert "roots" not in (tmp_path / text).read_text()


ANOTHER = "'dunes' would be another dataset in this process than in the one that sent it"
SEND = (
    "import gpgen, json, pickle, sys; store = gpgen.virtual(json.loads(sys.argv[1]), 6); "
    "print(pickle.dumps(store).hex())"
)


@pytest.mark.slow
def test_a_virtual_store_that_another_version_has_sent_is_refused(
    recipe: Recipe, versions: dict[str, Path]
) -> None:
    sent = bytes.fromhex(run(versions["2"], SEND, json.dumps(RECIPE)))
    same = pickle.loads(sent)  # noqa: S301
    assert same == gpgen.virtual(recipe, 6)
    sent = bytes.fromhex(run(versions["1"], SEND, json.dumps(RECIPE)))
    with pytest.raises(ClusterError, match=ANOTHER):
        pickle.loads(sent)  # noqa: S301


@pytest.mark.kill
def test_a_server_whose_kernel_is_updated_meanwhile_draws_no_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = KERNEL.replace('"dune"', '"wave"')  # one that this process has not loaded yet
    offer(tmp_path, "waves", kernel.replace("STEEPNESS", "1.0"), {"wave": "Dune"})
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    component = {"kernel": "wave", "length_scales": [4.0, 8.0]}
    keys = keys_of({**RECIPE, "components": [component]}, 6)
    with drawn_by_processes(keys):
        if keys.draw_elsewhere is None:
            pytest.skip("needs memory to share, and two cores")
        assert keys.draw_elsewhere(0) == keys._drawn_chunk(0)
        (tmp_path / "waves.py").write_text(kernel.replace("STEEPNESS", "1.0001"))
        for process in keys.draw_elsewhere.__self__._all:
            process.kill()
        for _ in range(2):
            with pytest.raises(ClusterError, match=ANOTHER):
                keys.draw_elsewhere(0)


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("version", "error", "message"),
    [
        ("1", ClusterError, r"worker tcp://.* has another version of the kernel dune"),
        ("", ClusterError, r"scheduler and all workers need the package of kernel dune"),
        ("2", None, ""),
    ],
)
def test_workers_with_another_version_are_noticed(
    recipe: Recipe,
    versions: dict[str, Path],
    tmp_path: Path,
    version: str,
    error: type[Exception] | None,
    message: str,
) -> None:
    paths = [path for path in sys.path if path != str(versions["2"])]
    paths = [str(versions[version]), *paths] if version else paths
    settings = {"PYTHONPATH": os.pathsep.join(paths)}
    cluster = DaskCluster(tmp_path, workers=1, settings=settings)
    out = tmp_path / "d.zarr"
    try:
        if error is None:
            gpgen.make(recipe, 6, out, scheduler=cluster.address).close()
            assert gpgen.verify(out, regenerate="all")
        else:
            with pytest.raises(error, match=message):
                gpgen.make(recipe, 6, out, scheduler=cluster.address)
            assert not out.exists()
    finally:
        cluster.close()
