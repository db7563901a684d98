"""The benchmarks compare like with like: what others draw has the covariance that ours has."""

from __future__ import annotations

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft

from benchmarks import make, package, peers, sample
from benchmarks.circulant import CirculantEmbedding, CirculantPair, PrunedCirculantEmbedding
from benchmarks.packages import PACKAGES
from benchmarks.timing import interleaved
from gpgen import Recipe, Sampler

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`axes` should not be:DeprecationWarning"),  # rfgen's
]

SIDE, LENGTH_SCALE = 12, 2.0


class Unit:
    """In place of random numbers: zeros and a single one, so that columns of the factor appear."""

    def __init__(self, position):
        self.position = position

    def standard_normal(self, *, dtype, out):
        out[...] = 0
        out.reshape(-1)[self.position] = 1


def factor(embedding):
    """The matrix that takes noise to pixels, column by column: drawing is linear."""
    size = embedding.noise.size
    return np.stack([embedding.draw(Unit(k)).ravel() for k in range(size)], axis=1)


def covariance():
    axis = np.arange(SIDE)
    squares = (axis[:, None] - axis[None, :]) ** 2
    one = np.exp(-0.5 * squares / LENGTH_SCALE**2)
    return np.kron(one, one)


@pytest.mark.parametrize("kind", [CirculantEmbedding, PrunedCirculantEmbedding])
def test_circulant_embedding_has_the_kernels_covariance(kind):
    columns = factor(kind(SIDE, LENGTH_SCALE, np.float64))
    # exp(-5.7**2 / 2) = 9e-8 wraps around at either end of each axis, 1e-7 of each is left out.
    np.testing.assert_allclose(columns @ columns.T, covariance(), rtol=0, atol=6e-7)


def test_a_complex_fft_gives_two_independent_fields():
    columns = factor(CirculantPair(SIDE, LENGTH_SCALE, np.float64))
    products = columns @ columns.T
    zero = np.zeros_like(covariance())
    expected = np.block([[covariance(), zero], [zero, covariance()]])
    np.testing.assert_allclose(products, expected, rtol=0, atol=6e-7)


@pytest.mark.parametrize("kernel", ["rbf", "matern-1/2", "matern-3/2", "matern-5/2"])
@pytest.mark.parametrize("name", PACKAGES)
def test_packages_are_asked_for_the_same_kernel(name, kernel):
    package = PACKAGES[name]
    if kernel not in package.kernels:
        pytest.skip("it has no such kernel")
    pytest.importorskip(name)
    side, length_scale, draws = 64, 3.0, 60 if package.side > 128 else 20
    draw = package.field(kernel, side, length_scale)
    fields = np.stack([draw() for _ in range(draws)])
    # The mean of n products has a variance of at most 2 (pi l**2) / (pixels), by Isserlis:
    # the squared correlation integrates to pi l**2, and to less for Matern kernels.
    error = 5 * np.sqrt(2 * np.pi * length_scale**2 / (draws * side**2))
    # Spectra without their mean, and without what is beyond the Nyquist frequency: a tenth of
    # Matern 1/2's variance at this length-scale.
    if package.note == "periodic only":
        error += 2 * np.pi * length_scale**2 / side**2 + 0.11 * (kernel == "matern-1/2")
    lag = int(length_scale)
    expected = peers.expected(kernel, np.array([0.0, 1.0]))
    for shifted in (
        fields[:, lag:, :] * fields[:, :-lag, :],
        fields[..., lag:] * fields[..., :-lag],
    ):
        assert abs(shifted.mean() - expected[1]) < error
    assert abs((fields**2).mean() - expected[0]) < error
    assert not np.array_equal(fields[0], fields[1])


def test_a_covariance_that_is_wrong_is_measured():
    draw = peers.drawing("gpgen", "matern-3/2", 64, 4.0)
    _, near, edges = peers.covariance_errors("matern-3/2", draw, 64, 4.0, 200, 60)
    assert abs(near[0]) < 5 * near[1]
    assert abs(edges[0]) < 5 * edges[1]
    _, near, edges = peers.covariance_errors("matern-5/2", draw, 64, 4.0, 200, 60)
    assert abs(near[0]) > 5 * near[1]
    periodic = {"name": "p", "shape": [64, 64], "boundary": "periodic", "standardize": False}
    component = {"kernel": "matern", "smoothness": 1.5, "length_scales": [4.0]}
    sampler = Sampler(Recipe.from_dict(periodic | {"components": [component]}))
    images = iter(sampler.images(0, 50))
    _, _, edges = peers.covariance_errors("matern-3/2", images.__next__, 64, 4.0, 50, 60)
    assert edges[0] > 0.7


def test_fftw_does_the_work_and_gives_our_bytes(capsys, monkeypatch):
    monkeypatch.setattr(peers, "KERNELS", {"matern-3/2": peers.KERNELS["matern-3/2"]})
    monkeypatch.setattr(peers, "packages_with", lambda kernel: ["gpgen"])
    for transforms in (np.fft, scipy.fft):
        for name in ("fft", "ifft", "rfft", "irfft", "fftn", "ifftn", "rfftn", "irfftn"):
            monkeypatch.setattr(transforms, name, getattr(transforms, name))  # put back
    hashes = []
    for fft in ("own", "fftw"):
        peers.print_hashes(fft)
        hashes.append(json.loads(capsys.readouterr().out)["matern-3/2|gpgen"])
    assert hashes[0] == hashes[1] != peers.UNUSED


def test_images_of_every_kernel_are_timed(capsys, monkeypatch):
    names = ("powerbox", "gstools")  # one that is timed at its own size, one at a smaller one
    monkeypatch.setattr(peers, "PACKAGES", {name: PACKAGES[name] for name in names})
    peers.main(["--side", "64", "--rounds", "1", "--tables", "time"])
    printed = capsys.readouterr().out
    assert all(kernel in printed for kernel in peers.KERNELS)
    assert printed.count("│ gpgen") == len(peers.KERNELS)


def test_others_samples_are_standardized_and_weighted_as_ours():
    random = np.random.default_rng(0)
    fields = random.normal(3, 2, (2, 16, 16))
    drawn = sample.two_scale([fields[0].copy, fields[1].copy], 16)()
    expected = sum(
        weight * (field - field.mean()) / field.std()
        for weight, field in zip((0.75, 1.25), fields, strict=True)
    )
    assert drawn.dtype == np.float32
    # One rounding to float32 of values below 8.
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=2**-22)


def test_ours_is_the_papers_sample_of_one_class():
    drawn = sample.ours(64, (10, 80), standardize=True)
    first, second = drawn().copy(), drawn().copy()
    assert first.dtype == np.float32
    assert first.shape == (64, 64)
    assert not np.array_equal(first, second)


def test_rounds_are_interleaved_and_the_warm_up_does_not_count():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = interleaved(calls, 3, slow=frozenset("c"), slow_repeats=1)
    assert "".join(order) == "abc" + "abc" + "ab" + "ab"
    assert [len(timings[name].wall) for name in "abc"] == [3, 3, 1]


def test_sample_tables_compare_all_methods(capsys):
    result = sample.main(["--side", "64", "--repeats", "2", "--slow-repeats", "1", "--sides", "64"])
    rows = {row["method"]: row for row in result["sample"]}
    assert rows["scipy.fft.irfft2, float32"]["over_irfft2"] == 1
    assert rows["gpgen"]["over_gpgen"] == 1
    assert {f"{name}, float32" for name in sample.EMBEDDINGS} <= set(rows)
    assert all(row["sample_s"] > 0 for row in result["sample"])
    assert result["growth"][0]["gpgen"] > 0
    assert "one thread" in capsys.readouterr().out


def test_make_tables_compare_with_disk_and_cores(tmp_path, capsys):
    result = make.main(
        [
            "--n",
            "2",
            "--rounds",
            "1",
            "--counts",
            "20",
            "--worker-counts",
            "--folder",
            str(tmp_path),
        ]
    )
    disk = result["disk"]
    slower = max(disk["write_s"][0], disk["draw_s"][0])
    assert disk["ratios"] == [pytest.approx(disk["make_s"][0] / slower)]
    assert result["growth"][0]["peak_bytes"] > 2**20
    assert list(tmp_path.iterdir()) == []
    assert "driver's" in capsys.readouterr().out


def test_raw_writing_writes_every_byte(tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        make.shutil,
        "rmtree",
        lambda path: sizes.extend(sorted(file.stat().st_size for file in path.iterdir())),
    )
    assert make.write_seconds(tmp_path, 2500, 1000) > 0
    assert sizes == [500, 1000, 1000]


def test_packaging_is_compared_with_a_copy_of_every_byte(tmp_path, capsys):
    arguments = ["--recipe", "two-scale-mini", "--n", "4", "--rounds", "1"]
    result = package.main([*arguments, "--folder", str(tmp_path)])
    for target in ("data.zarr", "data.h5"):
        measured = result[target]
        assert measured["nbytes"] > 4 * 4 * 256**2
        assert measured["ratios"] == [measured["copy_s"][0] / measured["package_s"][0]]
    assert list(tmp_path.iterdir()) == []
    assert "MD5" in capsys.readouterr().out
    (tmp_path / "in").mkdir()
    for name, content in {"a": b"first", "b": b"second"}.items():
        (tmp_path / "in" / name).write_bytes(content)
    assert package.copy_files(tmp_path / "in", tmp_path / "out") == 11
    assert (tmp_path / "out").read_bytes() == b"firstsecond"


def test_contenders_train_for_the_same_time_and_results_are_kept(tmp_path, monkeypatch):
    by_cost = pytest.importorskip("benchmarks.backdrop_by_cost")
    regimes = importlib.import_module("benchmarks.backdrop_by_cost_regimes")
    out, name = tmp_path / "found.json", "two-scale-mini"
    few = {k: regimes.CONTENDERS[k] for k in ("no mask", "small batches", "sparse, keep = 3")}
    small = regimes.Regime(12, 0.05, None, 8, 4, few, ("no mask",), name)
    only_costs = regimes.Regime(12, 0.0, 128, contenders=few)
    monkeypatch.setattr(by_cost, "REGIMES", {name: small, "two-scale-128": only_costs})
    monkeypatch.setattr(by_cost, "RATES", (0.01,))
    monkeypatch.setattr(by_cost, "difficulty", lambda recipe: SimpleNamespace(accuracy=0.99))
    by_cost.run(out, [name, "two-scale-128"], 2, workers=2)  # in processes
    found = json.loads(out.read_text())["regimes"]
    costs = found[name]["costs"]
    for cost in costs.values():
        assert cost["steps"] == max(1, round(0.05 / cost["seconds"]))
    assert costs["sparse, keep = 3"]["megabytes"] < costs["small batches"]["megabytes"]
    assert costs["small batches"]["megabytes"] < costs["no mask"]["megabytes"]
    assert found["two-scale-128"]["costs"].keys() == few.keys()
    assert "steps" not in found["two-scale-128"]["costs"]["no mask"]
    trained = ["small batches", "sparse, keep = 3"]
    assert sorted((row["seed"], row["contender"]) for row in found[name]["test"]) == [
        (seed, k) for seed in range(2) for k in trained
    ]
    kept = found[name]["test"][-1]
    k = kept["contender"]
    task = by_cost.Task(k, 0.01, kept["seed"], costs[k]["steps"], "test")
    here = by_cost.train(small, small.source("cpu"), task)
    assert {**here, "cpu": 0} == {**kept, "cpu": 0}  # a process gives what this one gives

    monkeypatch.setattr(by_cost, "train", None)  # nothing is left to be trained
    by_cost.run(out, [name], 2)
    by_cost.run(out, [name], 3, limit=0)  # nor may anything be begun
    by_cost.add_ideal(out)
    page = tmp_path / "page.md"
    page.write_text("before <!-- t --> old <!-- end of t --> after")
    by_cost.put(by_cost.tables(json.loads(out.read_text())), page, "t")
    assert page.read_text().count(" | 2 |\n") == 2
    assert "observer 0.99:" in page.read_text()
    assert " old " not in page.read_text()
    by_cost.plot(json.loads(out.read_text()), name, tmp_path / "accuracy.png")


def test_what_fails_or_does_not_fit_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    by_cost = pytest.importorskip("benchmarks.backdrop_by_cost")
    regimes = importlib.import_module("benchmarks.backdrop_by_cost_regimes")
    out, name = tmp_path / "found.json", "two-scale-mini"
    few = {
        "small batches": regimes.Contender(4),
        "sparse, keep = 3": regimes.Contender(4, keep=65),  # there are 64 positions
    }
    monkeypatch.setattr(
        by_cost, "REGIMES", {name: regimes.Regime(12, 0.05, None, 8, 4, few, (), name)}
    )
    monkeypatch.setattr(by_cost, "RATES", (0.01,))
    by_cost.run(out, [name], 1)
    mine = json.loads(out.read_text())["regimes"][name]
    assert mine["costs"]["sparse, keep = 3"]["failed"].startswith("UsageError: ")
    assert [row["contender"] for row in mine["test"]] == ["small batches"]


def test_the_most_that_is_allocated_is_counted():
    torch = pytest.importorskip("torch")
    by_cost = pytest.importorskip("benchmarks.backdrop_by_cost")

    def call():
        torch.empty(30_000)  # gone before the next
        torch.empty(10_000).add_(1).mul(2)

    assert by_cost.most_allocated(call, torch.device("cpu")) == 4 * 30_000
