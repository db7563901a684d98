"""One run: a method, a seed, and what came of every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from backdrop.baselines import FeatureClassifier
from backdrop.evaluation import (
    LengthScaleScores,
    Scores,
    evaluate,
    evaluate_length_scales,
    relative_errors,
)
from backdrop.training.examples import Examples, Source, drawn
from backdrop.training.network import network, side_of_crop
from backdrop.training.settings import Settings, settings_from
from backdrop.training.state import CHECKPOINT, Epoch, State, load_checkpoint, restore, save
from gpgen.errors import GpgenError, UsageError
from gpgen.format.stored_recipe import StoredRecipe
from gpgen.formatting import count
from gpgen.io.user_paths import AnyText
from gpgen.opening import recipe_or_dataset
from gpgen.recipe import Recipe

__all__ = ["DivergedError", "Run", "evaluate_checkpoint", "train"]

_CHECKPOINT_EVERY = 10  # epochs, or:
_CHECKPOINT_SECONDS = 30


class DivergedError(GpgenError, ArithmeticError):
    """A loss that is no longer a number: lower the learning rate."""

    code: ClassVar[str] = "diverged"


@dataclass(frozen=True)
class Run:
    """What `train` returns.

    Attributes
    ----------
    settings, seed
        What was run.
    epochs
        Every epoch.
    test
        Scores on the settings' split, looked at once, when training is over.
    seconds
        The processor's time for the training alone: on a CPU that of one thread, other programs
        left out. NaN for runs that earlier versions left. Runs are compared without it.
    """

    settings: Settings
    seed: int
    epochs: tuple[Epoch, ...]
    test: Scores | LengthScaleScores
    seconds: float = field(default=math.nan, compare=False)

    @property
    def score(self) -> float:
        """The accuracy, or the relative error of length-scales."""
        test = self.test
        return test.accuracy if isinstance(test, Scores) else test.relative_error

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "settings": self.settings.to_dict(),
            "seed": self.seed,
            "epochs": [epoch.to_dict() for epoch in self.epochs],
            "test": asdict(self.test),
            "seconds": None if math.isnan(self.seconds) else self.seconds,
        }


def train(
    source: Source,
    settings: Settings,
    seed: int,
    *,
    folder: Path | None = None,
    device: str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train one network and test it.

    The seed chooses the training images, the first weights, the order of the
    images, and where masks, crops and dropped channels fall: two methods with
    one seed share the first three.

    Parameters
    ----------
    source
        Where the images come from.
    settings, seed
        What to run.
    folder
        Where a checkpoint is kept; an unfinished run found there goes on.
    device
        For torch.
    on_epoch
        Called after every epoch.

    Returns
    -------
    Run
        On a CPU the same for the same settings, seed, and number of torch
        threads.

    Raises
    ------
    DivergedError
        If the loss is no longer finite. The checkpoint keeps the last good
        state.
    UsageError
        If the data doesn't fit the settings.
    """
    place = torch.device(device)
    state = _start(source, settings, seed, place)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
            restore(state, load_checkpoint(folder / CHECKPOINT), place)
    examples = _moved(source.training(settings.train_size, seed), place)
    saved = time.monotonic()
    while len(state.epochs) < settings.passes:
        began = time.process_time()
        if state.optimizer is None:
            epoch = _fitted(cast("FeatureClassifier", state.model), examples)
        else:
            epoch = _epoch(state, state.optimizer, settings, seed, examples)
        state.seconds += time.process_time() - began
        state.epochs.append(epoch)
        last = epoch.epoch == settings.passes
        late = time.monotonic() - saved > _CHECKPOINT_SECONDS
        if folder is not None and (last or late or epoch.epoch % _CHECKPOINT_EVERY == 0):
            save(state, source.recipe, settings, seed, folder / CHECKPOINT)
            saved = time.monotonic()
        if on_epoch is not None:
            on_epoch(epoch)
    test = _moved(source.held_out(settings.split, settings.test_size), place)
    scores = _scores(state.model, test, source)
    return Run(settings, seed, tuple(state.epochs), scores, state.seconds)


def _start(source: Source, settings: Settings, seed: int, device: torch.device) -> State:
    masks = torch.Generator(device).manual_seed(seed)
    model: nn.Module = network(source.recipe, settings, seed, masks).to(device)
    if len(source.recipe.shape) == 2:
        # Twice as fast on a CPU.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = list(model.parameters())
    return State(
        model=model,
        optimizer=torch.optim.Adam(weights, lr=settings.learning_rate) if weights else None,
        masks=masks,
        data=torch.Generator().manual_seed(seed),
    )


def _fitted(model: FeatureClassifier, examples: Examples) -> Epoch:
    logits = model.fit(examples.image, examples.label)
    right = (logits.argmax(1) == examples.label).double().mean()
    return Epoch(1, 0.0, float(functional.cross_entropy(logits, examples.label)), float(right))


def _epoch(
    state: State,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    seed: int,
    examples: Examples,
) -> Epoch:
    n, size = len(examples.label), settings.batch_size
    # A last batch that is short would get more weight than its images deserve.
    batches = n // size
    done = len(state.epochs)
    # Two generators: what a method draws for itself must not change the order of the images.
    order = torch.randperm(n, generator=state.data).to(examples.label.device)
    total, right, error, rate = 0.0, 0, 0.0, 0.0
    classes = settings.target == "label"
    for batch in range(batches):
        chosen = order[batch * size : (batch + 1) * size]
        image, label = examples.image[chosen], examples.label[chosen]
        if settings.method == "crop":
            image = cropped(image, settings.crop, state.masks)
        if image.ndim == 4:
            image = image.contiguous(memory_format=torch.channels_last)
        step = done * batches + batch
        rate = learning_rate(settings.learning_rate, step, settings.epochs * batches)
        for group in optimizer.param_groups:
            group["lr"] = rate
        output = state.model(image)
        loss = (functional.cross_entropy if classes else functional.mse_loss)(output, label)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise _diverged(f"the loss is {value}", settings, seed, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += value
        if classes:
            right += int((output.argmax(1) == label).sum())
        else:
            error += float(relative_errors(output.detach(), label).mean())
    # The last step's loss was that of the weights before it: those after go into a checkpoint.
    if not all(bool(value.isfinite().all()) for value in state.model.state_dict().values()):
        raise _diverged("a weight is no longer finite", settings, seed, (done + 1) * batches - 1)
    if classes:
        return Epoch(done + 1, rate, total / batches, accuracy=right / (batches * size))
    return Epoch(done + 1, rate, total / batches, relative_error=error / batches)


def _scores(model: nn.Module, test: Examples, source: Source) -> Scores | LengthScaleScores:
    if source.target == "label":
        return evaluate(model, test.image, test.label, source.sizes)
    return evaluate_length_scales(model, test.image, test.label)


def _diverged(what: str, settings: Settings, seed: int, step: int) -> DivergedError:
    epoch = step // (settings.train_size // settings.batch_size)
    return DivergedError(
        f"{what} at step {step + 1}, epoch {epoch + 1}, of method {settings.method!r}, seed {seed}",
        f"lower the learning rate of {settings.learning_rate:g}; checkpoints are from before",
    )


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Return the rate of a step: rising for a tenth of the steps, then a cosine down to 0."""
    rise = min(1.0, (step + 1) / (0.1 * steps))
    return highest * min(rise, 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-3)


def cropped(image: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Cut a window out of each image, ``fraction`` of its side, at random."""
    axes = image.shape[2:]
    window = [side_of_crop(fraction, side) for side in axes]
    corners = [
        torch.randint(
            side - width + 1, (len(image),), generator=generator, device=image.device
        ).tolist()
        for side, width in zip(axes, window, strict=True)
    ]
    return torch.stack(
        [
            one[(slice(None), *(slice(a, a + width) for a, width in zip(at, window, strict=True)))]
            for one, at in zip(image, zip(*corners, strict=True), strict=True)
        ]
    )


def _moved(examples: Examples, device: torch.device) -> Examples:
    return Examples(examples.image.to(device), examples.label.to(device))


def evaluate_checkpoint(
    path: AnyText, source: str, *, split: str = "test", n: int | None = None, device: str = "cpu"
) -> Scores | LengthScaleScores:
    """Evaluate a checkpoint's network.

    Parameters
    ----------
    path
        A ``checkpoint.pt`` that `train` left.
    source
        As for `Source`.
    split, n
        The first so many images of a split, as many of each class; without `n` 400, or what
        there are.
    device
        For torch.

    Raises
    ------
    DatasetError
        If the checkpoint is damaged.
    UsageError
        If the data's classes don't fit the network.
    """
    checkpoint = load_checkpoint(path)
    recipe = StoredRecipe.from_dict(checkpoint["recipe"])
    settings = settings_from(checkpoint["settings"])
    found = recipe_or_dataset(source)
    described = found if isinstance(found, Recipe) else found.recipe
    # `Source` would ask for another target, and it is the network's.
    if isinstance(described, Recipe):
        ours, theirs = (_learned(one, settings) for one in (recipe, described))
        if ours != theirs:
            raise UsageError(
                f"{path!s} was trained for {ours}, {source} has {theirs}",
                "evaluate on data of the recipe that it was trained on",
            )
    data = Source(source, "label" if settings.target == "label" else "length_scales")
    model = network(recipe, settings, checkpoint["seed"])
    model.load_state_dict(checkpoint["model"])
    model.to(device)
    size = data.most(split, Settings.test_size) if n is None else n
    examples = _moved(data.held_out(split, size), torch.device(device))
    return _scores(model, examples, data)


def _learned(recipe: Recipe, settings: Settings) -> str:
    """Return in words what a network learns of a recipe, and in how many axes."""
    what = f"the classes {', '.join(recipe.classes)}"
    if settings.target != "label":
        what = count(len(drawn(recipe)), "drawn length-scale")
    return f"{what} in {len(recipe.shape)}-D images"
