"""Each key of a recipe: what the reference says of it beyond its type, and values that prove it.

``accepted`` holds values at the limits that the text states and ``refused`` values just beyond
them; ``tests/test_docs_reference.py`` gives every one to a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["COMPONENT_KEYS", "RANGE_KEYS", "RECIPE_KEYS", "SMALL", "Key"]


@dataclass(frozen=True)
class Key:
    """One key.

    Parameters
    ----------
    unit
        What its numbers are measured in; "" where it has none.
    limits
        Allowed values, as text.
    example
        A line of TOML.
    accepted, refused
        Values at the limits, and just beyond.
    beside
        Other keys of the same table that the values need.
    """

    unit: str
    limits: str
    example: str
    accepted: tuple[Any, ...]
    refused: tuple[Any, ...]
    beside: dict[str, Any] = field(default_factory=dict)


_RBF = {"kernel": "rbf", "length_scales": [3.0]}

SMALL: dict[str, Any] = {"name": "small", "shape": [64, 64], "components": [_RBF]}
"""A recipe to which a key is added."""

RECIPE_KEYS = {
    "name": Key(
        "", "1 to 100 printable characters", 'name = "two-scale"', ("a", "a" * 100), ("", "a" * 101)
    ),
    "shape": Key(
        "pixels",
        "one, two or three axes (z, y, x) of 2 to 65,536 pixels, at most 2^28 in all",
        "shape = [256, 256]",
        ([2], [65536], [2, 2, 2]),
        ([], [1], [65537], [2, 2, 2, 2], [65536, 8192]),
    ),
    "components": Key(
        "",
        "1 to 64 tables; at most 4,096 classes, and 4,096 choices in all",
        "[[components]]",
        ([_RBF], [_RBF] * 64),
        ([], [_RBF] * 65),
    ),
    "boundary": Key(
        "",
        '`"open"`, `"periodic"`, or one of them for each axis if they differ',
        'boundary = ["periodic", "open"]',
        ("open", "periodic", ["periodic", "open"]),
        ("closed", ["open", "open"], ["open"]),
    ),
    "standardize": Key("", "`true` or `false`", "standardize = false", (True, False), ("yes", 1)),
    "dtype": Key(
        "", '`"float32"` or `"float16"`', 'dtype = "float16"', ("float32", "float16"), ("float64",)
    ),
    "seed": Key("", "0 to 2^63 - 1", "seed = 7", (0, 2**63 - 1), (-1, 2**63, 0.5)),
    "algorithm": Key(
        "",
        '`"exact"`, or `"golkar2018"` for the distribution of the 2018 archive '
        "(1024 x 1024 pixels, open, `rbf`)",
        'algorithm = "exact"',
        ("exact",),
        ("fast",),
    ),
    "splits": Key(
        "",
        "1 to 64 names without spaces; fractions above 0 that sum to 1",
        "splits = { train = 0.8, test = 0.2 }",
        ({"all": 1.0}, {"train": 0.8, "test": 0.2}),
        ({}, {"train": 0.8}, {"a b": 1.0}, {"train": 1.0, "test": 0.0}),
    ),
}

RECIPE_KEYS["transform"] = Key(
    "",
    '`"lognormal"`, `"uniform"` or `"threshold"`, of the sum; no component then has one of its own',
    'transform = "uniform"',
    ("lognormal", "uniform", "threshold"),
    ("log",),
)

COMPONENT_KEYS = {
    "kernel": Key(
        "",
        "a kernel's name ([kernels](../kernels.md)), or one that another package offers",
        'kernel = "matern"',
        ("rbf", "white"),
        ("gauss",),
        {"length_scales": [1.0]},
    ),
    "length_scales": Key(
        "pixels",
        "a list of numbers from 0.25 to 1e9, each one number or one for each axis, as far as the "
        "[accuracy](../kernels.md) is reached; or a range, below",
        "length_scales = [4.0, [3.0, 12.0]]",
        ([0.25], [4.0, [3.0, 12.0]], {"low": 3.0, "high": 12.0}),
        ([], [0.24], [0.0], [[3.0, 4.0, 5.0]]),
    ),
    "weight": Key(
        "",
        "above 0, at most 1e6; or a range, below",
        "weight = 0.75",
        (1e-3, 1e6, {"low": 0.5, "high": 2.0}),
        (0.0, -1.0, 1.1e6, float("nan")),
    ),
    "smoothness": Key(
        "",
        "of `matern`, one number or several: 0.1 to 10, as far as the accuracy is reached",
        "smoothness = [0.5, 1.5]",
        (0.5, [0.5, 1.5], 2.25),
        (0.09, 10.1, []),
        {"kernel": "matern"},
    ),
    "alpha": Key(
        "",
        "of `rational-quadratic`, one number or several: 0.1 to 100, as far as the accuracy is "
        "reached",
        "alpha = 1.0",
        (1.0, [1.0, 2.0]),
        (0.09, 101.0),
        {"kernel": "rational-quadratic"},
    ),
    "exponent": Key(
        "",
        "of `power-law`, one number or several, 0.01 to 10: the spectrum falls as k^-exponent; or "
        "give `hurst`",
        "exponent = 3.0",
        (3.0, [2.5, 3.0]),
        (0.0, 10.1),
        {"kernel": "power-law", "length_scales": [8.0]},
    ),
    "hurst": Key(
        "",
        "of `power-law`, one number or several, above 0: exponent = 2 hurst + axes",
        "hurst = 0.5",
        (0.5,),
        (0.0, -0.5),
        {"kernel": "power-law", "length_scales": [8.0]},
    ),
    "inner_scale": Key(
        "pixels",
        "of `power-law`, 0 to 1e6: shorter waves are damped",
        "inner_scale = 1.0",
        (1.0,),
        (-1.0, 2e6),
        {"kernel": "power-law", "exponent": 3.0, "length_scales": [8.0]},
    ),
    "angle": Key(
        "degrees",
        "-360 to 360, one or several, of two axes whose length-scales differ; from the first axis "
        "(down) towards the second (right)",
        "angle = [0.0, 45.0]",
        (30.0, [0.0, 45.0]),
        ([], float("inf")),
        {"length_scales": [[3.0, 6.0]]},
    ),
    "transform": Key(
        "",
        '`"lognormal"`, `"uniform"` or `"threshold"`',
        'transform = "lognormal"',
        ("lognormal", "uniform", "threshold"),
        ("log", "square"),
    ),
}

RANGE_KEYS = {
    "low": Key(
        "pixels",
        "below `high`; of length-scales 0.25 to 1e9, of weights above 0, without a unit",
        "low = 3.0",
        (0.25,),
        (0.2, 12.0),
    ),
    "high": Key(
        "pixels",
        "above `low`; of length-scales 0.25 to 1e9, of weights at most 1e6",
        "high = 12.0",
        (3.5,),
        (3.0, 2.0),
    ),
    "draw": Key(
        "",
        '`"log-uniform"` (steps of equal ratio) or `"uniform"` (steps of equal size)',
        'draw = "uniform"',
        ("log-uniform", "uniform"),
        ("normal",),
    ),
    "steps": Key(
        "", "how many numbers can be drawn: 2 to 256", "steps = 64", (2, 256), (1, 257, 2.5)
    ),
}
