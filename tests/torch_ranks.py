"""Two processes that train together, as torchrun starts them.

``python torch_ranks.py SCENARIO FOLDER`` runs both. Each leaves FOLDER/RANK.json: what it saw in
each epoch, or whatever else the scenario returns.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import os
import socket
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch_support import numbered, numbers

N, BATCH, WORLD_SIZE = 80, 8, 2
_GROUPS: list[Any] = []
_PATIENCE = 500  # seconds: on a machine with ten times as many processes as cores, 220 were seen


def textures() -> Any:
    dataset = numbered(N)
    dataset.shard_size = 16
    return dataset


def taken(loader: Any) -> list[int]:
    return [i for images, _ in loader for i in numbers(images)]


def run_ranks(scenario: str, folder: Path) -> list[Any]:
    """Run a scenario on two ranks; return what each left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, __file__, scenario, str(folder)]
    subprocess.run(command, check=True, env=environment, timeout=_PATIENCE + 60)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(WORLD_SIZE)]


def meet(folder: Path) -> None:
    """Let the ranks find each other by a file: a port that is free may not be so a moment later."""
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=(folder.resolve() / "met").as_uri(),
        rank=int(os.environ["RANK"]),
        world_size=WORLD_SIZE,
        timeout=timedelta(seconds=_PATIENCE),
    )
    # Kept until the process ends, which it does without tidying up: whoever drops the last
    # reference to a group waits, holding Python's lock, for gloo's thread, which may want the lock.
    _GROUPS.append(dist.group.WORLD)


def distributed(folder: Path) -> Any:
    """PyTorch alone: made before the ranks know of each other, as in the head of a script."""
    from torch.utils.data import DataLoader

    from gpgen.torch import EndlessTextures, ShardShuffle

    dataset = textures()
    order, fresh = ShardShuffle(dataset), EndlessTextures(dataset.recipe, 2)
    alone = len(order)
    meet(folder)
    epochs = []
    for epoch in range(2):
        order.set_epoch(epoch)
        epochs.append(taken(DataLoader(dataset, BATCH, sampler=order, num_workers=1)))
    images: list[float] = []
    for method, count in (("fork", 2), ("spawn", 1), (None, 0)):
        workers = {"num_workers": count, "multiprocessing_context": method}
        for batch, _ in itertools.islice(DataLoader(fresh, None, **workers), 3):
            images += batch[:, 0, 0, 0].tolist()
    state = order.state_dict(seen=16), fresh.state_dict(seen=3)
    return {"alone": alone, "epochs": epochs, "images": images, "state": state}


def sparse_backward(folder: Path) -> Any:
    """Each rank its own images and masks; what the two agree on, without and with."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    from backdrop import Backdrop, SparseBackward

    torch.set_num_threads(1)  # two ranks on busy cores: threads that spin starve the other
    meet(folder)
    rank = dist.get_rank()
    found = []
    for sparse in (False, True):
        torch.manual_seed(0)
        stem = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)).double()
        front = SparseBackward(stem, 0.9) if sparse else nn.Sequential(stem, Backdrop(0.9))
        model = DistributedDataParallel(
            nn.Sequential(front, nn.Flatten(), nn.Linear(256, 2).double())
        )
        torch.manual_seed(1 + rank)
        images = torch.randn(2, 1, 32, 32, dtype=torch.float64)
        for _ in range(2):
            model(images).sin().sum().backward()
        found.append(
            [float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None]
        )
    return found


def accelerated(folder: Path) -> Any:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from gpgen.errors import UsageError
    from gpgen.torch import ShardShuffle

    early = ShardShuffle(textures())
    accelerator = Accelerator(cpu=True)
    refused = []
    for attempt in (
        lambda: ShardShuffle(textures()),
        lambda: ShardShuffle(textures(), rank=accelerator.process_index, world_size=WORLD_SIZE),
        lambda: taken(accelerator.prepare(DataLoader(textures(), BATCH, sampler=early))),
    ):
        try:
            attempt()
        except UsageError as error:
            refused.append(str(error))
    order = ShardShuffle(textures(), rank=0, world_size=1)
    loader = accelerator.prepare(DataLoader(order.dataset, BATCH, sampler=order, num_workers=1))
    lengths, epochs = [], []
    for _ in range(2):
        lengths.append(len(loader))
        epochs.append(taken(loader))
    loader.set_epoch(1)
    rest = taken(accelerator.skip_first_batches(loader, 2))
    accelerator.end_training()
    return {"refused": refused, "lengths": lengths, "epochs": epochs, "rest": rest}


def lightning(folder: Path) -> Any:
    import lightning as L
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader
    from torchdata.stateful_dataloader import StatefulDataLoader

    from gpgen.torch import ShardShuffle

    class Watching(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(32, 1)
            self.epochs: dict[int, list[int]] = {}

        def training_step(self, batch: Any, step: int) -> Any:
            self.epochs.setdefault(self.current_epoch, []).extend(numbers(batch[0]))
            return self.layer(batch[0].flatten(1)).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def trainer(**options: Any) -> Any:
        return L.Trainer(
            accelerator="cpu",
            devices=WORLD_SIZE,
            strategy="ddp",
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )

    plain, order = Watching(), ShardShuffle(textures(), seed=3)
    trainer(max_epochs=2, enable_checkpointing=False).fit(
        plain, DataLoader(order.dataset, BATCH, sampler=order)
    )

    stopped, resumed = Watching(), Watching()
    every_seventh = ModelCheckpoint(folder, "last", every_n_train_steps=7)
    for model, options, ckpt_path in (
        (stopped, {"max_steps": 9, "callbacks": [every_seventh]}, None),
        (resumed, {"max_epochs": 3, "enable_checkpointing": False}, folder / "last.ckpt"),
    ):
        order = ShardShuffle(textures(), seed=3)
        loader = StatefulDataLoader(order.dataset, BATCH, sampler=order, num_workers=1)
        trainer(**options).fit(model, loader, ckpt_path=ckpt_path)
    return {"plain": plain.epochs, "stopped": stopped.epochs, "resumed": resumed.epochs}


def loss_of_all_ranks(folder: Path) -> Any:
    """Gradients of a ranking loss over the batches of both ranks, of unequal sizes, under DDP."""
    import torch
    import torch.distributed as dist

    from backdrop.losses import gathered, roc_auc_loss

    torch.set_num_threads(1)
    meet(folder)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1).double()
    features, target = torch.randn(12, 4).double(), torch.arange(12) % 3 == 0
    roc_auc_loss(model(features)[:, 0], target).backward()
    whole = model.weight.grad.flatten().tolist()
    model.zero_grad()
    mine = slice(0, 5) if dist.get_rank() == 0 else slice(5, 12)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    loss = roc_auc_loss(*gathered(parallel(features[mine])[:, 0], target[mine]))
    loss.backward()
    return whole, model.weight.grad.flatten().tolist()


def masked_gradients(folder: Path) -> Any:
    """Gradients of a network with `Backdrop` under DDP, one list a parameter."""
    import torch
    from test_backdrop_torch import gradients, small_network

    torch.set_num_threads(1)
    meet(folder)
    parallel = torch.nn.parallel.DistributedDataParallel(small_network())
    return [p.flatten().tolist() for p in gradients(parallel, int(os.environ["RANK"]))]


def second_derivative(folder: Path) -> Any:
    """What is said to who asks for a second derivative through `gathered`."""
    import torch

    from backdrop.losses import gathered

    meet(folder)
    scores = torch.randn(3, requires_grad=True)
    everything, _ = gathered(scores, torch.ones(3))
    (gradient,) = torch.autograd.grad((everything**2).sum(), scores, create_graph=True)
    try:
        gradient.sum().backward()
    except RuntimeError as error:
        return str(error)
    return "nothing"


def _rank(rank: int, scenario: str, folder: str) -> None:
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
    sizes = {"WORLD_SIZE": WORLD_SIZE, "LOCAL_WORLD_SIZE": WORLD_SIZE}
    os.environ.update({name: str(value) for name, value in {**ranks, **sizes}.items()})
    warnings.simplefilter("ignore")
    faulthandler.dump_traceback_later(_PATIENCE, exit=True)  # says where a rank that hangs stands
    left = globals()[scenario](Path(folder))
    (Path(folder) / f"{rank}.json").write_text(json.dumps(left))
    os._exit(0)


if __name__ == "__main__":
    from torch.multiprocessing import start_processes

    if sys.argv[1] == "lightning":  # once for both
        import lightning as _lightning  # noqa: F401
    start_processes(_rank, (sys.argv[1], sys.argv[2]), WORLD_SIZE, start_method="fork")
