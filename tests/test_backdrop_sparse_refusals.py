"""What SparseBackward can't do right, it refuses in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sparse_support import doubles, largest_difference, trained
from torch import nn

from backdrop import Backdrop, ImageRows, SparseBackward, insert
from gpgen.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::backdrop.SparseBackwardWarning")


def conv(*a, **k):
    return nn.Conv2d(*a, **k)


class Noise(nn.Module):
    """Draws from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x):
        return x + torch.randn(x.shape, generator=self.generator)


class Attention(nn.Module):
    def forward(self, x):
        flat = x.flatten(2)
        return ((flat.transpose(1, 2) @ flat).softmax(-1) @ flat.transpose(1, 2)).mT.reshape(
            x.shape
        )


class Positions(nn.Module):
    """Adds a learned map, as large as the image."""

    def __init__(self, *shape):
        super().__init__()
        self.map = nn.Parameter(torch.randn(shape))

    def forward(self, x):
        return x + self.map


class HiddenPool(nn.Module):
    """Strides that no module tells of."""

    def forward(self, x):
        return nn.functional.interpolate(nn.functional.max_pool2d(x, 4), scale_factor=4)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.mask = conv(2, 2, 3, padding=1), conv(2, 2, 3, 2), Backdrop(0.5)

    def forward(self, x):
        return self.mask(self.two(self.mask(self.one(x))))


class Closure(nn.Module):
    """Learns a tensor that is no parameter."""

    def __init__(self):
        super().__init__()
        self.weights = [torch.randn(2, 2, 3, 3, requires_grad=True)]

    def forward(self, x):
        return nn.functional.conv2d(x, self.weights[0])


class Brightness(nn.Module):
    """Changes by what is elsewhere in the image."""

    def forward(self, x):
        return x - x.mean((2, 3), keepdim=True)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (nn.BatchNorm2d(2), "changes the buffer '1.*' of the stem.*eval mode"),
        (nn.BatchNorm2d(2, track_running_stats=False), "gives other values for the part"),
        (nn.GroupNorm(1, 2), "gives other values for the part"),
        (nn.InstanceNorm2d(2), "fails on the part of the image|gives other values"),
        (nn.Dropout2d(0.5), "draws random numbers; put dropout behind the stem"),
        (nn.RReLU(), "draws random numbers"),
        (Noise(), "gives other values for the part"),
        (nn.AdaptiveAvgPool2d(1), "sees the whole image"),
        (nn.AdaptiveAvgPool2d(8), "positions|whole image|gives other values"),
        (Attention(), "sees the whole image"),
        (Brightness(), "gives other values|sees the whole image"),
        (Positions(1, 2, 48, 48), "geometry of the stem Sequential is unknown"),
        (HiddenPool(), "strides say|gives other values"),
        (nn.Flatten(), "is no map"),
        (conv(2, 2, 3, padding=1, padding_mode="circular"), "gives other values"),
        (Closure(), "requires a gradient and is no parameter"),
        (Twice(), "masks no map, or several"),
        (nn.utils.spectral_norm(conv(2, 2, 3)), "changes the buffer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_stems_that_see_more_than_a_patch(after, words):
    torch.manual_seed(0)
    layer = SparseBackward(nn.Sequential(conv(2, 2, 3, padding=1), after), 0.95)
    with pytest.raises(UsageError, match=words):
        layer(torch.randn(2, 2, 48, 48))
    if not isinstance(after, nn.Flatten):
        layer.eval()(torch.randn(2, 2, 48, 48))  # there it is the stem


def test_layers_that_a_part_does_not_suit_are_refused_in_tiles_too():
    images = torch.randn(1, 2, 96, 96)
    for after in (nn.AdaptiveAvgPool2d(8), nn.GroupNorm(1, 2)):
        layer = SparseBackward(nn.Sequential(conv(2, 2, 3), after), 0.95, tile=16).eval()
        with torch.no_grad(), pytest.raises(UsageError):
            layer(images)


def test_stems_without_convolutions_and_images_that_are_too_small():
    with pytest.raises(UsageError, match=r"geometry of the stem ReLU is unknown.*no convolution"):
        SparseBackward(nn.ReLU())(torch.randn(1, 1, 8, 8, requires_grad=True))
    with pytest.raises(UsageError, match=r"stem Conv2d fails on \(1, 5, 5\): .*Kernel size"):
        SparseBackward(conv(1, 1, 7))(torch.randn(1, 1, 5, 5))
    sized = nn.Sequential(conv(2, 4, 3, 2, 1), nn.LayerNorm([4, 32, 32]))
    with pytest.raises(UsageError, match=r"stem Sequential fails on \(2, .*normalized_shape"):
        SparseBackward(sized)(torch.randn(1, 2, 64, 64))
    with pytest.raises(UsageError, match="the stem is function, no module"):
        SparseBackward(nn.functional.relu)


def test_images_that_a_stem_changes_in_place():
    layer = SparseBackward(nn.Sequential(nn.ReLU(True), conv(1, 1, 3)))
    with pytest.raises(UsageError, match=r"changes the images in place.*inplace=False"):
        layer(torch.randn(1, 1, 40, 40))


def test_changes_between_forward_and_backward():
    stem = nn.Sequential(conv(1, 2, 3, 2), nn.ReLU(), conv(2, 2, 3, 2))
    images = torch.randn(1, 1, 40, 40)
    layer = SparseBackward(stem, 0.8)
    for change in (lambda: stem[0].weight.data.mul_(1), lambda: images.add_(1)):
        loss = layer(images).sum()
        with torch.no_grad():
            change()
            stem[2].weight.add_(0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
    loss = layer(images).sum()
    stem.eval()
    with pytest.raises(UsageError, match="between forward and backward"):
        loss.backward()
    loss = layer(images).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    (gradient,) = torch.autograd.grad(layer(images).sum(), stem[0].weight, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"p": 1.0}, "masking probability"),
        ({"p": float("nan")}, "masking probability"),
        ({"keep": 0}, "keep is 0"),
        ({"keep": True}, "keep is True"),
        ({"keep": 2.5}, "keep is 2.5"),
        ({"keep": 401}, "keep is 401, and a mask has 400 positions"),
        ({"tile": -3}, "tile is -3"),
        ({"dims": ()}, "give a sequence of dimensions"),
        ({"dims": 2}, "give a sequence of dimensions"),
        ({"dims": (1, 2)}, "name the channels"),
        ({"dims": (-3,)}, "name the channels"),
        ({"dims": (2, -2)}, "one dimension twice"),
        ({"dims": (4,)}, "name dimension 4"),
    ],
)
def test_settings_out_of_range(settings, words):
    with pytest.raises(UsageError, match=words):
        SparseBackward(conv(1, 1, 3, 2), **settings)(torch.randn(1, 1, 41, 41))


def test_images_of_another_kind():
    layer = SparseBackward(conv(1, 1, 3, 2))
    with pytest.raises(UsageError, match="ndarray, no tensor; give tile="):
        layer(np.zeros((1, 1, 40, 40), np.float32))
    with pytest.raises(UsageError, match="one to three axes"):
        layer(torch.zeros(3, 4))
    with pytest.raises(UsageError, match="empty"):
        layer(torch.zeros(0, 1, 40, 40))
    tiled = SparseBackward(conv(1, 1, 3, 2), tile=16).eval()
    with pytest.raises(UsageError, match=r"torch.no_grad\(\)"):
        tiled(np.zeros((1, 1, 40, 40), np.float32))
    with pytest.raises(UsageError, match=r"rows are .*3"):
        ImageRows(np.zeros((3, 8, 8)), [0, 3])


def test_masks_and_layers_within():
    with pytest.raises(UsageError, match="put a Backdrop into the stem"):
        SparseBackward(nn.Sequential(SparseBackward(conv(1, 1, 3)), conv(1, 1, 3)))
    mask = Backdrop(0.5)
    stem = nn.Sequential(conv(1, 2, 3, 2), mask, conv(2, 2, 3, 2), mask)
    for tile in (None, 16):
        with pytest.raises(UsageError, match="'1' inside the stem masks no map, or several"):
            SparseBackward(stem, tile=tile)(torch.randn(1, 1, 40, 40))


def test_stems_that_learn_what_is_no_parameter():
    with pytest.raises(UsageError, match=r"none of its parameters.*DistributedDataParallel"):
        SparseBackward(Closure())(torch.randn(1, 2, 40, 40))


def test_insert_names_how_to_build_it_by_hand():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = conv(1, 2, 3, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.head(self.stem(x).mean((2, 3)))

    with pytest.raises(UsageError, match=r"'stem', which is no child.*SparseBackward\(stem, p\)"):
        insert(Network(), {3: 0.9}, (1, 32, 32), sparse=True)


class Centred(nn.Module):
    """Looks at the whole image once it is told to, in eval mode too."""

    on = False

    def forward(self, x):
        return x - x.mean((2, 3), keepdim=True) if self.on else x


def test_a_stem_that_changes_after_its_first_step_is_noticed():
    stem = nn.Sequential(conv(1, 4, 3, 2, 1), Centred(), conv(4, 4, 3, 2, 1))
    layer, images = SparseBackward(stem, 0.8), torch.randn(2, 1, 64, 64)
    layer(images).sin().sum().backward()
    stem[1].on = True
    loss = layer(images).sin().sum()
    with pytest.raises(UsageError, match="in the backward pass the stem gives other values"):
        loss.backward()
    stem[1] = nn.InstanceNorm2d(4)
    loss = layer(images).sin().sum()
    with pytest.raises(UsageError, match="in the backward pass the stem gives other values"):
        loss.backward()
    stem[1] = nn.Conv2d(4, 4, 1)
    layer(images).sin().sum().backward()


def test_a_stride_that_changes_after_the_first_step_is_followed():
    stem = nn.Sequential(conv(2, 4, 3, 2, 1), nn.ReLU(), conv(4, 4, 3, 2, 1)).double()
    layer, images = SparseBackward(stem, 0.8, check=False), doubles(2, 2, 48, 48)
    layer(images).sum().backward()
    stem[0].stride, stem[2].dilation = (1, 1), (2, 2)
    plain = nn.Sequential(stem, Backdrop(0.8))
    pair = (trained(stem, one, images, 3) for one in (plain, layer))
    assert largest_difference(*pair) < 1e-12


def test_what_comes_behind_may_work_in_place():
    """The comparison is with what the stem gave, and not with what became of it."""
    stem = nn.Sequential(conv(1, 4, 3, 2, 1), nn.ReLU(), conv(4, 4, 3, 2, 1))
    layer = nn.Sequential(SparseBackward(stem, 0.8), nn.ReLU(inplace=True))
    layer(torch.randn(2, 1, 64, 64)).sum().backward()
    assert stem[0].weight.grad.any()
