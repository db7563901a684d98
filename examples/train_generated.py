"""Train on a recipe alone, never twice on one sample: python examples/train_generated.py."""

import argparse
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader

import gpgen
from gpgen.torch import EndlessTextures, GeneratedTextures

parser = argparse.ArgumentParser()
parser.add_argument("--recipe", default="two-scale-mini")
parser.add_argument("--steps", type=int, default=1000)
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()

recipe = gpgen.Recipe.load(options.recipe)
fresh = EndlessTextures(recipe, batch_size=32)
test = GeneratedTextures(recipe.replace(seed=recipe.seed + 1), n=200)
loader = DataLoader(fresh, batch_size=None, num_workers=options.workers)
convolutions = [nn.Conv2d(a, b, 5, 2) for a, b in ((1, 16), (16, 32), (32, 64))]
layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
network = nn.Sequential(*layers, *pool, nn.Linear(64, len(fresh.classes)))
optimizer = torch.optim.Adam(network.parameters(), 1e-3)
for step, (images, labels) in enumerate(islice(loader, options.steps), start=1):
    loss = nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0 or step == options.steps:
        with torch.no_grad():
            right = sum(int((network(x).argmax(1) == y).sum()) for x, y in DataLoader(test, 32))
        print(f"step {step}: loss {loss.item():.3f}, {right} of {len(test)} right", flush=True)
