"""The benchmark's networks: the size of emotion models, with random weights.

T1 to T3 are the ones that the peers' figures were published for; the two of WESAD have the shapes
of the models in examples/wesad.

Weights come from seed 0; every linear layer is then scaled so that its outputs have mean 0 and
variance 1 per channel on the calibration inputs, as a folded batch norm would do, so that
activations are of order one and the winning class is not always the same. Inputs come from seed 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.study.models import FeatureMlp, WindowCnn
from examples.wesad import channels, windows
from examples.wesad.recipes import CNN, MLP

from .data import TaskData

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "square": torch.square,
    "silu": functional.silu,
    "relu": functional.relu,
}

WINDOWS = 20
"""Inputs of a task, before more of them are asked for."""

CALIBRATION = 256


class Activation(nn.Module):
    """One of ACTIVATIONS, elementwise."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


class T1(nn.Module):
    """MLP 64-64-32-3 on a vector of features [64]."""

    shape: tuple[int, ...] = (64,)

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 64),
            Activation(activation),
            nn.Linear(64, 32),
            Activation(activation),
            nn.Linear(32, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layers(x)
        return scores


class T2(nn.Module):
    """1-D CNN on a window of 4 channels and 128 samples [4, 128], three classes."""

    shape: tuple[int, ...] = (4, 128)

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(4, 8, 7, stride=2, padding=3)
        self.act1 = Activation(activation)
        self.conv2 = nn.Conv1d(8, 16, 5, stride=2, padding=2)
        self.act2 = Activation(activation)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.conv2(self.act1(self.conv1(x))))
        scores: Tensor = self.head(self.pool(x).flatten(1))
        return scores


class T3(nn.Module):
    """LeNet-5 with average pooling on an image [1, 28, 28], ten classes."""

    shape: tuple[int, ...] = (1, 28, 28)

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.act1 = Activation(activation)
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.act2 = Activation(activation)
        self.pool2 = nn.AvgPool2d(2)
        self.fc1 = nn.Linear(400, 120)
        self.act3 = Activation(activation)
        self.fc2 = nn.Linear(120, 84)
        self.act4 = Activation(activation)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.act1(self.conv1(x)))
        x = self.pool2(self.act2(self.conv2(x))).flatten(1)
        scores: Tensor = self.fc3(self.act4(self.fc2(self.act3(self.fc1(x)))))
        return scores


class WesadMlp(FeatureMlp):
    """60 features of chest and wrist, two classes; BatchNorm before its squares."""

    shape: tuple[int, ...] = (60,)

    def __init__(self) -> None:
        super().__init__(self.shape[0], 2, MLP.hidden, MLP.dropout)


class WesadCnn(WindowCnn):
    """A window of the wrist's slow channels [channels, samples], two classes."""

    shape: tuple[int, ...] = (len(channels.CHANNELS), windows.WINDOW * channels.RATE)

    def __init__(self) -> None:
        super().__init__(self.shape[0], 2, CNN.hidden, CNN.dropout)


Network = T1 | T2 | T3 | WesadMlp | WesadCnn

TASKS: dict[str, Callable[[str], Network]] = {
    "T1": T1,
    "T2": T2,
    "T3": T3,
    "wesad": lambda variant: WesadCnn() if variant == "cnn" else WesadMlp(),
}

VARIANTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("T1", "T2", "T3"), tuple(ACTIVATIONS)),
    "wesad": ("mlp", "personal", "cnn"),
}
"""The variants of each task: its activations, or its networks."""

ENCRYPTED_WEIGHTS = {("wesad", "personal"): ("layers.5.weight", "layers.5.bias")}
"""Parameters that are a user's own: the last layer of the MLP."""


def make(task: str, variant: str, windows: int = WINDOWS) -> TaskData:
    """Weights, inputs [windows, ...], calibration inputs [256, ...] and reference outputs.

    The first 20 inputs are the same however many are asked for.
    """
    torch.manual_seed(0)
    model = TASKS[task](variant).eval()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn((WINDOWS, *model.shape), generator=generator)
    calibration = torch.randn((CALIBRATION, *model.shape), generator=generator)
    if windows > WINDOWS:
        more = torch.Generator().manual_seed(2)
        extra = torch.randn((windows - WINDOWS, *model.shape), generator=more)
        inputs = torch.cat((inputs, extra))
    with torch.no_grad():
        _standardise(model, calibration)
        outputs = model(inputs[:windows])
    return TaskData(
        task,
        variant,
        {name: value.numpy() for name, value in model.state_dict().items()},
        inputs[:windows].numpy(),
        calibration.numpy(),
        outputs.numpy(),
    )


def build(data: TaskData) -> nn.Module:
    """The PyTorch module with the weights in `data`."""
    model = TASKS[data.task](data.variant)
    model.load_state_dict({name: torch.tensor(w) for name, w in data.weights.items()})
    return model.eval()


def _standardise(model: nn.Module, inputs: Tensor) -> None:
    """Front to back: each layer sees the inputs that the standardised ones before it make."""
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d) or layer.bias is None:
            continue
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _m, _i, out, into=seen: into.append(out))
        model(inputs)
        hook.remove()
        others = [d for d in range(seen[0].dim()) if d != 1]
        mean, std = seen[0].mean(others), seen[0].std(others)
        layer.weight.div_(std.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.sub_(mean).div_(std)
