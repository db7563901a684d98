"""Compare with the authors' program of 2018, run from a checkout of github.com/golkar/backdrop.

The program runs unchanged, but for names that NumPy and SciPy have removed since, which
are put back here. It needs george and matplotlib beside NumPy and SciPy::

    pip install george matplotlib numpy scipy
    python benchmarks/golkar2018_authors.py crosses CHECKOUT ARCHIVE
    python benchmarks/golkar2018_authors.py statistics CHECKOUT mosaic --images 6000

``crosses`` gives the samples of an archive that gpgen made to the authors' ``GP_cross``
and compares what it makes with the archive's ``dataset.zip``, pixel by pixel.
``statistics`` measures the authors' generator at sizes that it can do. gpgen itself is
not imported: what is measured here owes nothing to it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import pickle
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np


def load_program(checkout: Path) -> ModuleType:
    """Import the authors' GP_create with the removed names put back."""
    import matplotlib as mpl
    from scipy import interpolate

    mpl.use("Agg")

    def interp2d(x, y, z, kind):  # noqa: ANN001, ANN202
        assert kind == "cubic"
        # What SciPy's own guide to the removal gives as the equivalent on a grid.
        spline = interpolate.RectBivariateSpline(x, y, z.T, kx=3, ky=3, s=0)
        return lambda xs, ys: spline(xs, ys).T

    interpolate.interp2d = interp2d
    vars(np)["int"] = int
    sys.path.insert(0, str(checkout))
    import GP_create

    return GP_create


def compare_crosses(checkout: Path, archive: Path, weights: list[float]) -> bool:
    """Run GP_cross on an archive's samples, and compare with its crosses."""
    program = load_program(checkout)
    equal = True
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        with zipfile.ZipFile(archive / "samples.zip") as samples:
            size = int(samples.namelist()[0].split("size-")[1].split("_")[0])
            samples.extractall(folder)
        with zipfile.ZipFile(archive / "dataset.zip") as dataset:
            dataset.extractall(folder)
        for path in sorted(Path(folder, "gp-crosses").glob("*.gp")):
            ours = pickle.loads(path.read_bytes())  # noqa: S301
            lists = [
                [float(v) if "." in v else int(v) for v in part.split("-")]
                for part in path.stem.removeprefix("GP_").split("+")
            ]
            said = io.StringIO()
            with contextlib.chdir(folder), contextlib.redirect_stdout(said):
                program.GP_cross(size, lists, weights).write_to_file()
            theirs = pickle.loads(path.read_bytes())  # noqa: S301 - overwritten just now
            same = ours[1] == theirs[1] and len(ours[0]) == len(theirs[0])
            same = same and all(
                a.dtype == b.dtype and np.array_equal(a, b) and i == j
                for (a, i), (b, j) in zip(ours[0], theirs[0], strict=True)
            )
            print(*(line for line in said.getvalue().splitlines() if " " in line), sep="\n")
            print(f"{path.name}: {len(theirs[0])} images, {'equal' if same else 'DIFFERENT'}")
            print("SHA-256 of the authors' pixels, in order:", digest(theirs[0]))
            equal = equal and same
    return equal


def digest(pairs: list[list[object]]) -> str:
    """Return the SHA-256 of all pixels and labels."""
    sha256 = hashlib.sha256()
    for image, label in pairs:
        sha256.update(np.asarray(image, "<f4").tobytes() + bytes([label]))
    return sha256.hexdigest()


def measure(checkout: Path, kind: str, images: int, seed: int) -> None:
    """Print variance, kurtosis and correlations of the authors' textures, with errors."""
    program = load_program(checkout)
    reuse_roots(program)
    patch = program.generate_patch
    if kind == "mosaic":
        generator = patch(120, subpatch=patch(20, 3, 2), wrap=True, wrap_factor=1.25)
    else:
        generator = patch(32, 3, 4, envelope=False)
    np.random.seed(seed)  # noqa: NPY002 - the program draws from the global state
    began = time.time()
    moments = np.array([image_moments(generator.generate()[0]) for _ in range(images)])
    values, errors = summary(moments)
    print(f"{kind}: {images} images in {time.time() - began:.0f} s, NumPy seed {seed}")
    names = ["variance", "kurtosis", *(f"correlation at {lag}" for lag in range(1, 13))]
    for name, value, error in zip(names, values, errors, strict=True):
        print(f"({value:.6f}, {error:.6f}),  # {name}")


def reuse_roots(program: ModuleType) -> None:
    """Keep covariance matrices and their roots: the same numbers, without hours of SVD.

    `numpy.random.multivariate_normal` takes the root of its matrix anew for each draw. With
    the root kept, the same random state gives the same numbers to the last bit.
    """
    roots: dict[bytes, np.ndarray] = {}
    matrices: dict[bytes, np.ndarray] = {}
    get_matrix = program.george.GP.get_matrix

    def matrix(self, x):  # noqa: ANN001, ANN202
        key = self.kernel.parameter_vector.tobytes() + x.tobytes()
        if key not in matrices:
            matrices[key] = get_matrix(self, x)
        return matrices[key].copy()

    def multivariate_normal(mean, cov, size):  # noqa: ANN001, ANN202
        key = cov[0].tobytes()  # all distances from the first point: the kernel and the grid
        if key not in roots:
            _, s, v = np.linalg.svd(cov)
            roots[key] = np.sqrt(s)[:, None] * v
        return np.random.standard_normal((size, len(mean))) @ roots[key] + mean  # noqa: NPY002

    program.george.GP.get_matrix = matrix
    np.random.multivariate_normal = multivariate_normal


def image_moments(image: np.ndarray) -> list[float]:
    """Return an image's mean square, mean fourth power, and products at lags 1 to 12."""
    products = [
        ((image[lag:] * image[:-lag]).mean() + (image[:, lag:] * image[:, :-lag]).mean()) / 2
        for lag in range(1, 13)
    ]
    return [(image**2).mean(), (image**4).mean(), *products]


def summary(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return variance, kurtosis and correlations, and their standard errors over images."""
    m = moments.mean(axis=0)
    covariance = np.cov(moments.T) / len(moments)
    values = np.concatenate([[m[0], m[1] / m[0] ** 2], m[2:] / m[0]])
    slopes = np.zeros((14, 14))
    slopes[0, 0] = 1
    slopes[1, :2] = -2 * m[1] / m[0] ** 3, 1 / m[0] ** 2
    for k in range(2, 14):
        slopes[k, [0, k]] = -m[k] / m[0] ** 2, 1 / m[0]
    return values, np.sqrt(np.diag(slopes @ covariance @ slopes.T))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Compare with the authors' program of 2018.")
    commands = parser.add_subparsers(dest="command", required=True)
    crosses = commands.add_parser("crosses", help="GP_cross on an archive's samples")
    crosses.add_argument("checkout", type=Path)
    crosses.add_argument("archive", type=Path)
    crosses.add_argument("--weights", type=float, nargs="+", default=[0.75, 1.25])
    statistics = commands.add_parser("statistics", help="moments of the authors' textures")
    statistics.add_argument("checkout", type=Path)
    statistics.add_argument("kind", choices=["mosaic", "plain"])
    statistics.add_argument("--images", type=int, default=6000)
    statistics.add_argument("--seed", type=int, default=12)
    options = parser.parse_args()
    os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())
    if options.command == "statistics":
        measure(options.checkout, options.kind, options.images, options.seed)
    else:
        archive = options.archive.resolve()
        sys.exit(not compare_crosses(options.checkout.resolve(), archive, options.weights))


if __name__ == "__main__":
    main()
