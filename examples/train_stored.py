"""Train on a stored dataset: python examples/train_stored.py mini.zarr --epochs 10.

Make one first: gpgen make --recipe two-scale-mini --n 4000 --out mini.zarr
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader

from gpgen.torch import ShardShuffle, TextureDataset

parser = argparse.ArgumentParser()
parser.add_argument("path")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()

train, test = (TextureDataset(options.path, split=split) for split in ("train", "test"))
order = ShardShuffle(train)
loader = DataLoader(train, batch_size=32, sampler=order, num_workers=options.workers)
convolutions = [nn.Conv2d(a, b, 5, 2) for a, b in ((1, 16), (16, 32), (32, 64))]
layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
network = nn.Sequential(*layers, *pool, nn.Linear(64, len(train.classes)))
optimizer = torch.optim.Adam(network.parameters(), 1e-3)
for epoch in range(options.epochs):
    order.set_epoch(epoch)
    for images, labels in loader:
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in DataLoader(test, 32))
    print(f"epoch {epoch}: loss {loss.item():.3f}, {right} of {len(test)} right", flush=True)
