"""How well a network names classes or length-scales: as a whole, and component by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpgen.errors import UsageError

__all__ = [
    "LengthScaleScores",
    "Scores",
    "choices_of",
    "evaluate",
    "evaluate_length_scales",
    "relative_errors",
]


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


@dataclass(frozen=True)
class LengthScaleScores:
    """What `evaluate_length_scales` measured.

    Attributes
    ----------
    relative_error
        Mean of abs(predicted / true - 1), over samples and components.
    r2
        Coefficient of determination of the logarithms, mean over the components: 1 less the mean
        squared error over the variance of these samples; 0 where they are all the same.
    components
        The relative error of each drawn length-scale.
    loss
        Mean squared error of the natural logarithms.
    n
        Number of samples.
    """

    relative_error: float
    r2: float
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
    logits = _outputs(model, image, batch_size)
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


def relative_errors(predicted: Tensor, true: Tensor) -> Tensor:
    """Return abs(predicted / true - 1) of numbers whose natural logarithms are given."""
    return torch.expm1(predicted - true).abs()


def evaluate_length_scales(
    model: nn.Module, image: Tensor, log_scale: Tensor, *, batch_size: int = 50
) -> LengthScaleScores:
    """Measure a network that predicts length-scales, on images that it has not seen.

    Parameters
    ----------
    model
        Gives natural logarithms of length-scales in pixels, shape ``(sample, component)``. It is
        put in evaluation mode for the time of the call.
    image, log_scale
        Shapes ``(sample, channel, *axes)`` and ``(sample, component)``.
    batch_size
        Images at once.

    Raises
    ------
    UsageError
        If there is no image, or the model predicts another number of length-scales.
    """
    predicted = _outputs(model, image, batch_size)
    if predicted.shape != log_scale.shape:
        raise UsageError(
            f"the model predicts {predicted.shape[1]} length-scales, the data draws "
            f"{log_scale.shape[1]}",
            "evaluate on data of the recipe that the model was trained on",
        )
    squares = (predicted - log_scale).double().square().mean(0)
    variance = log_scale.double().var(0, correction=0)
    r2 = torch.where(variance > 0, 1 - squares / variance, 0.0)
    errors = relative_errors(predicted, log_scale).double().mean(0)
    return LengthScaleScores(
        relative_error=float(errors.mean()),
        r2=float(r2.mean()),
        components=tuple(errors.tolist()),
        loss=float(squares.mean()),
        n=len(image),
    )


def _outputs(model: nn.Module, image: Tensor, batch_size: int) -> Tensor:
    """Return what a model in evaluation mode makes of images, float32."""
    if len(image) == 0:
        raise UsageError("there is no image to evaluate on", "give at least one")
    training = model.training
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(part).float() for part in torch.split(image, batch_size)])
    model.train(training)
    return outputs
