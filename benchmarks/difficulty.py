"""The difficulty of every built-in recipe, as gpgen keeps it in datasets/difficulty.json.

    python -m benchmarks.difficulty > difficulty.json && mv difficulty.json datasets/

Recipes of which nobody knows it are left out. A minute or two.
"""

from __future__ import annotations

import json

from gpgen import Recipe
from gpgen.observer.known import compute_summary, reason_for_none, texture_sha256
from gpgen.recipe import builtin_recipes


def main() -> None:
    """Compute and print."""
    found = {}
    for name in builtin_recipes():
        recipe = Recipe.load(name)
        if reason_for_none(recipe):
            continue
        summary = compute_summary(recipe)
        found[name] = {"texture_sha256": texture_sha256(recipe), **summary.to_dict()}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
