"""How well a network tells a recipe's classes apart: as a whole, and component by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpgen.errors import UsageError

__all__ = ["Scores", "choices_of", "evaluate"]


@dataclass(frozen=True)
class Scores:
    """What `evaluate` measured.

    Attributes
    ----------
    accuracy
        Fraction of samples whose class was named.
    components
        For each component the fraction of samples whose length-scale of that
        component was named, whatever was said of the others.
    loss
        Mean cross entropy, nats.
    n
        Number of samples.
    """

    accuracy: float
    components: tuple[float, ...]
    loss: float
    n: int


def choices_of(label: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return which length-scale each component has in a class.

    Labels count in mixed radix, the first component fastest.

    Parameters
    ----------
    label
        Classes, shape ``(sample,)``.
    sizes
        How many length-scales each component offers.

    Returns
    -------
    Tensor
        int64, shape ``(sample, component)``.
    """
    choices = []
    for size in sizes:
        choices.append(label % size)
        label = label // size
    return torch.stack(choices, 1)


def evaluate(
    model: nn.Module, image: Tensor, label: Tensor, sizes: Sequence[int], *, batch_size: int = 50
) -> Scores:
    """Measure a classifier on images that it has not seen.

    Parameters
    ----------
    model
        Gives logits ``(sample, class)``. It is put in evaluation mode for the
        time of the call.
    image, label
        Shapes ``(sample, channel, *axes)`` and ``(sample,)``.
    sizes
        How many length-scales each component offers; their product is the
        number of classes.
    batch_size
        Images at once.

    Raises
    ------
    UsageError
        If there is no image, or the model has another number of classes.
    """
    if len(image) == 0:
        raise UsageError("there is no image to evaluate on", "give at least one")
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part).float() for part in torch.split(image, batch_size)])
    model.train(training)
    classes = int(torch.tensor(list(sizes)).prod())
    if logits.shape[1] != classes:
        raise UsageError(
            f"the model tells {logits.shape[1]} classes apart, the data has {classes}",
            "evaluate on data of the recipe that the model was trained on",
        )
    right = choices_of(logits.argmax(1), sizes) == choices_of(label, sizes)
    return Scores(
        accuracy=float(right.all(1).double().mean()),
        components=tuple(right.double().mean(0).tolist()),
        loss=float(functional.cross_entropy(logits, label)),
        n=len(image),
    )
