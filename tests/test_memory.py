"""What is said of a worker's memory, beside what a worker takes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest
from store_tools import ENVIRONMENT

from gpgen import Recipe
from gpgen.making.memory import worker_memory

WORKER = """
import pickle, sys
import scipy.fft, gpgen.making.dispatch
from gpgen.exact.blas import one_blas_thread
from gpgen.format.image_writing import batch_size
from gpgen.sampling import DrawnImages

def kilobytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key))

before = kilobytes("VmRSS")
recipe, n = pickle.loads(sys.stdin.buffer.read())
with one_blas_thread():
    for start in range(0, n, batch_size(recipe)):
        DrawnImages(recipe).images(start, min(start + batch_size(recipe), n))
print(1024 * (kilobytes("VmHWM") - before))
"""


def recipe_of(kernel: str, scales: object, shape: list[int], **more: Any) -> Recipe:
    component = {"kernel": kernel, "length_scales": scales, **more}
    return Recipe.from_dict({"name": "m", "shape": shape, "components": [component]})


LONG = recipe_of("rbf", [3.0, 3000.0], [2**15])
MATERN = recipe_of("matern", [10.0, 40.0], [512, 512], smoothness=1.5)
SOLID = recipe_of("matern", [4.0, 6.0], [64, 64, 64], smoothness=1.5)
DRAWN = recipe_of("rbf", {"low": 3.0, "high": 100.0}, [512, 512])


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("recipe", "n"), [(LONG, 40), (MATERN, 6), (SOLID, 3), (DRAWN, 100)])
def test_a_worker_takes_about_what_is_said(recipe: Recipe, n: int) -> None:
    """Not much more, which is what a cluster's limit is chosen by, and not a small part of it."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=pickle.dumps((recipe, n)),
        env=ENVIRONMENT,
        capture_output=True,
        check=True,
    )
    peak = int(done.stdout)
    assert peak / 1.25 < worker_memory(recipe) < 3 * peak


def test_what_is_kept_of_kernels_is_counted() -> None:
    short = recipe_of("matern", [10.0], [512, 512], smoothness=1.5)
    torus = 8 * 640 * 640  # the smallest for the shorter length-scale, at least
    assert worker_memory(short) > 10 * torus
    assert worker_memory(MATERN) > worker_memory(short) + 4 * torus
    # 64 factors and their Gram matrices, against two.
    assert worker_memory(DRAWN) > 1.5 * worker_memory(recipe_of("rbf", [3.0, 100.0], [512, 512]))
