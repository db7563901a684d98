"""Ten known architectures, written small: a few channels and blocks, every connection there.

Of ResNet, VGG, Inception and DenseNet `normalization` makes the layer that the
originals have behind each convolution; nn.Identity leaves it out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ARCHITECTURES", "FPN", "VGG", "DenseNet", "Inception", "ResNet", "UNet"]

Normalization = type[nn.Module]


def conv(
    into: int, out: int, kernel: int, stride: int = 1, norm: Normalization = nn.Identity
) -> nn.Module:
    """Convolution, normalization, activation."""
    layer = nn.Conv2d(into, out, kernel, stride, kernel // 2)
    return nn.Sequential(layer, norm(out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, into: int, out: int, stride: int, norm: Normalization) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride, 1)
        self.bn1 = norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1)
        self.bn2 = norm(out)
        self.relu = nn.ReLU(inplace=True)
        same = into == out and stride == 1
        self.downsample = None if same else nn.Conv2d(into, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, normalization: Normalization = nn.Identity) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 7, 2, 3)
        self.bn1 = normalization(8)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        blocks = [(8, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1)]
        self.layers = nn.Sequential(*(Residual(*block, normalization) for block in blocks))
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(conv(1, 8, 3), conv(8, 8, 3))
        self.down2 = nn.Sequential(conv(8, 16, 3), conv(16, 16, 3))
        self.bottom = nn.Sequential(conv(16, 16, 3), conv(16, 16, 3))
        self.up2 = nn.ConvTranspose2d(16, 16, 2, 2)
        self.conv2 = conv(32, 8, 3)
        self.conv1 = conv(16, 8, 3)
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down1(x)
        middle = self.down2(functional.max_pool2d(fine, 2))
        y = self.up2(self.bottom(functional.max_pool2d(middle, 2)))
        y = self.conv2(torch.cat([y, middle], 1))
        y = functional.interpolate(y, scale_factor=2, mode="bilinear")
        return self.head(self.conv1(torch.cat([y, fine], 1)))


class VGG(nn.Module):
    def __init__(self, normalization: Normalization = nn.Identity) -> None:
        super().__init__()
        layers = []
        for into, out in [(1, 8), (8, 16), (16, 16)]:
            for channels in (into, out):
                layers += [*conv(channels, out, 3, norm=normalization)]
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.classifier = nn.Sequential(
            nn.Linear(256, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class Mixed(nn.Module):
    def __init__(self, into: int, norm: Normalization) -> None:
        super().__init__()
        self.branch1 = conv(into, 4, 1, norm=norm)
        self.branch3 = nn.Sequential(conv(into, 4, 1, norm=norm), conv(4, 4, 3, norm=norm))
        self.branch5 = nn.Sequential(conv(into, 4, 1, norm=norm), conv(4, 4, 5, norm=norm))
        self.branch_pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(into, 4, 1, norm=norm))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch1, self.branch3, self.branch5, self.branch_pool)
        return torch.cat([branch(x) for branch in branches], 1)


class Inception(nn.Module):
    """With the auxiliary head, which only training has."""

    def __init__(self, normalization: Normalization = nn.Identity) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(1, 8, 7, 2, normalization), nn.MaxPool2d(3, 2, 1))
        self.mixed1 = Mixed(8, normalization)
        self.mixed2 = Mixed(16, normalization)
        self.aux = nn.Linear(16, 4)
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        early = self.mixed1(self.stem(x))
        scores = self.fc(self.mixed2(early).mean((2, 3)))
        return (scores, self.aux(early.mean((2, 3)))) if self.training else scores


class Dense(nn.ModuleDict):
    def __init__(self, into: int, norm: Normalization) -> None:
        super().__init__()
        for i in range(3):
            layers = (norm(into + 4 * i), nn.ReLU(), nn.Conv2d(into + 4 * i, 4, 3, padding=1))
            self[f"layer{i}"] = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.values():
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    def __init__(self, normalization: Normalization = nn.Identity) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(1, 8, 4, 4)
        self.block1 = Dense(8, normalization)
        self.transition = nn.Sequential(normalization(20), nn.Conv2d(20, 8, 1), nn.AvgPool2d(2))
        self.block2 = Dense(8, normalization)
        self.classifier = nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.transition(self.block1(self.conv0(x))))
        return self.classifier(functional.relu(x).mean((2, 3)))


class Temporal(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.conv1 = nn.Conv1d(8, 8, 3, dilation=dilation)
        self.conv2 = nn.Conv1d(8, 8, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv1(functional.pad(x, (self.past, 0))))
        y = functional.relu(self.conv2(functional.pad(y, (self.past, 0))))
        return functional.relu(x + y)


class TCN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, 8, 1)
        self.blocks = nn.Sequential(*(Temporal(2**i) for i in range(4)))
        self.leave = nn.Conv1d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.blocks(self.enter(x)))


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 4, 4)
        self.stage1 = nn.Sequential(ConvNeXtBlock(8), ConvNeXtBlock(8))
        self.down = nn.Conv2d(8, 16, 2, 2)
        self.stage2 = nn.Sequential(ConvNeXtBlock(16), ConvNeXtBlock(16))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage2(self.down(self.stage1(self.stem(x)))).mean((2, 3)))


class FPN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [conv(1, 8, 3, 2), conv(8, 8, 3, 2), conv(8, 8, 3, 2), conv(8, 8, 3, 2)]
        )
        self.lateral = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(3))
        self.smooth = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        merged = [lateral(x) for lateral, x in zip(self.lateral, maps[1:], strict=True)]
        for i in (1, 0):
            merged[i] = merged[i] + functional.interpolate(merged[i + 1], scale_factor=2)
        return {
            f"p{i}": smooth(x)
            for i, (smooth, x) in enumerate(zip(self.smooth, merged, strict=True))
        }


class TimeTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv1d(1, 16, 8, 8)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.patches(x).mT).mean(1))


class ConvGRU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Conv1d(1, 8, 4, 4), nn.ReLU(), nn.Conv1d(8, 8, 4, 2, 1), nn.ReLU())
        self.convolutions = nn.Sequential(*layers)
        self.gru = nn.GRU(8, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        features, _ = self.gru(self.convolutions(x).mT)
        return self.head(features.mean(1))


# Each with the shape of an input, a length-scale in pixels and a masking probability.
ARCHITECTURES = {
    "ResNet": (ResNet, (1, 128, 128), 27, 0.99),
    "U-Net": (UNet, (1, 128, 128), 5, 0.95),
    "VGG": (VGG, (1, 128, 128), 16, 0.9),
    "Inception": (Inception, (1, 128, 128), 27, 0.99),
    "DenseNet": (DenseNet, (1, 128, 128), 28, 0.99),
    "TCN": (TCN, (1, 512), 13, 0.9),
    "ConvNeXt": (ConvNeXt, (1, 128, 128), 4, 0.75),
    "FPN": (FPN, (1, 128, 128), 7, 0.9),
    "transformer over time": (TimeTransformer, (1, 512), 8, 0.75),
    "GRU behind convolutions": (ConvGRU, (1, 512), 16, 0.75),
}
