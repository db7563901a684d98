"""A loss over the whole batch, with and without a mask over the samples.

    python examples/auc.py                 # ten paired seeds, about five minutes on one core
    python examples/auc.py --tune          # how the settings were found, on validation images

The problem is imbalanced: 25 positive and 225 negative textures of 32 x 32 pixels, whose
fine component is a little coarser in the positives (2.0 px against 1.6), under a coarse one
that says nothing. A small network is trained on the ROC AUC loss of all 250 at once, since
the AUC of a minibatch with two positives says little. Without a mask every step follows the
same gradient, and the network learns the 250 by heart. ``Backdrop(dims=(0,))`` between
scores and loss leaves the loss as it is and lets each step learn from a random part.

Both are tested at the step with the best AUC on a validation set. ``--tune`` found the settings:
nine of rate, weight decay and p for each, on a seed that is not used here. Weight decay matters
as much as the mask does; what came of other settings is in docs/results.md.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
from itertools import product

import numpy as np
import torch
from torch import nn

import gpgen
from backdrop import Backdrop
from backdrop.losses import roc_auc, roc_auc_loss

RECIPE = gpgen.Recipe.from_dict(
    {
        "name": "imbalanced",
        "shape": [32, 32],
        "components": [
            {"kernel": "rbf", "length_scales": [1.6, 2.0], "weight": 0.75},
            {"kernel": "rbf", "length_scales": [6.0], "weight": 1.25},
        ],
    }
)
RATES = (1e-3, 3e-3, 1e-2)
TRIED = {
    "without": [
        *(
            {"p": 0.0, "learning_rate": rate, "weight_decay": decay}
            for rate, decay in product(RATES, (0.0, 0.3))
        ),
        {"p": 0.0, "learning_rate": 1e-2, "weight_decay": 0.1},
        {"p": 0.0, "learning_rate": 1e-2, "weight_decay": 1.0},
        {"p": 0.0, "learning_rate": 3e-2, "weight_decay": 0.3},
    ],
    "with": [
        *(
            {"p": p, "learning_rate": r, "weight_decay": 0.0}
            for r, p in product(RATES, (0.5, 0.75))
        ),
        {"p": 0.5, "learning_rate": 3e-3, "weight_decay": 0.3},
        {"p": 0.5, "learning_rate": 1e-2, "weight_decay": 0.3},
        {"p": 0.25, "learning_rate": 1e-2, "weight_decay": 0.3},
    ],
}
CHOSEN = {  # what --tune found best
    "without": {"p": 0.0, "learning_rate": 3e-2, "weight_decay": 0.3},
    "with": {"p": 0.25, "learning_rate": 1e-2, "weight_decay": 0.3},
}
TUNING_SEEDS = (101,)
FIRST_SEED = 20  # those before were looked at with other settings


@functools.cache
def textures(positives: int, negatives: int, first_seed: int):
    """Images (sample, 1, y, x) and targets (sample,), positives first."""
    target = torch.arange(positives + negatives) < positives
    images = [
        gpgen.sample(RECIPE, seed=first_seed + i, label=int(label)).image
        for i, label in enumerate(target)
    ]
    return torch.from_numpy(np.stack(images))[:, None], target


def network(p: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0),
        Backdrop(p, dims=(0,)),
    )  # fmt: skip


def train(seed, steps, p, learning_rate, weight_decay):
    """Return the test AUC of one training at its best validation AUC, and that one."""
    torch.manual_seed(seed)
    first = 1_000_000 * seed
    images, target = textures(25, 225, first)
    validation = textures(50, 150, first + 100_000)
    test = textures(200, 200, first + 200_000)
    model = network(p)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=weight_decay)
    best, kept = 0.0, copy.deepcopy(model)
    for step in range(1, steps + 1):
        model.train()
        optimizer.zero_grad()
        roc_auc_loss(model(images), target).backward()
        optimizer.step()
        if step % 50 == 0:
            reached = evaluate(model, *validation)
            if reached > best:
                best, kept = reached, copy.deepcopy(model)
    return evaluate(kept, *test), best


@torch.no_grad()
def evaluate(model, images, target):
    return roc_auc(model.eval()(images), target)


def tune(steps):
    print("mean validation AUC over seeds", *TUNING_SEEDS)
    for name, tried in TRIED.items():
        means = []
        for settings in tried:
            found = [train(seed, steps, **settings)[1] for seed in TUNING_SEEDS]
            means.append(statistics.mean(found))
            each = " ".join(f"{auc:.3f}" for auc in found)
            print(f"{name} {settings}: {means[-1]:.4f} ({each})", flush=True)
        print(f"best {name}: {tried[means.index(max(means))]}")


def compare(seeds, steps):
    print(f"{'seed':>4}  {'without':>7}  {'with':>7}   test AUC")
    pairs = []
    for seed in seeds:
        pair = [train(seed, steps, **CHOSEN[name])[0] for name in ("without", "with")]
        pairs.append(pair)
        print(f"{seed:4}  {pair[0]:7.3f}  {pair[1]:7.3f}", flush=True)
    without, masked = (statistics.mean(column) for column in zip(*pairs, strict=True))
    higher = sum(b > a for a, b in pairs)
    print(f"mean  {without:7.3f}  {masked:7.3f}   higher with the mask in {higher} of {len(pairs)}")
    return pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--tune", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.tune:
        tune(arguments.steps)
    else:
        compare(range(FIRST_SEED, FIRST_SEED + arguments.seeds), arguments.steps)


if __name__ == "__main__":
    main()
