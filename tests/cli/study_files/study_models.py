"""Functions for `bad_study` that build networks, most of them faulty."""

import sys

import torch
from torch import nn

five = 5


def make(width=2, outputs=2):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, outputs),
    )


def needs(channels):
    return make()


def raises():
    return 1 / 0


def raises_lines():
    raise RuntimeError("first\nsecond\x1b[31m")


def raises_without_text():
    raise KeyError


def raises_with_sharing(sharing, width):
    raise ValueError("no luck")


def leaves():
    sys.exit(3)


def recurses():
    return recurses()


def yields():
    yield make()


async def waits():
    return make()


def needs_width_64(width):
    if width < 64:
        raise ValueError("width must be at least 64")
    return make(width)


def none():
    return None


def network_class():
    return nn.ReLU


def a_list():
    return [make()]


def function():
    return lambda x: x


def not_called():
    class NotCalled(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    return NotCalled()


class Gives(nn.Module):
    def __init__(self, get):
        super().__init__()
        self.net = make()
        self.get = get

    def forward(self, x):
        return self.get(self.net(x))


def fail(error):
    raise error


OUTPUTS = {
    "gives_none": lambda x: None,
    "gives_tuple": lambda x: (x, x),
    "gives_dictionary": lambda x: {"logits": x},
    "gives_number": lambda x: 1.0,
    "gives_numpy": lambda x: x.detach().numpy(),
    "gives_three": lambda x: x[:, :1].repeat(1, 3),
    "gives_one": lambda x: x[:, 0],
    "gives_one_example": lambda x: x[:1],
    "gives_integers": lambda x: x.long(),
    "gives_booleans": lambda x: x > 0,
    "gives_complex": lambda x: torch.complex(x, x),
    "gives_nan": lambda x: x * float("nan"),
    "gives_infinity": lambda x: x / 0,
    "gives_meta": lambda x: x.to("meta"),
    "gives_sparse": lambda x: x.to_sparse(),
    "gives_detached": lambda x: x.detach(),
    "fails": lambda x: fail(IndexError("no\nluck \x1b[31m")),
    "exits": lambda x: sys.exit(4),
    "asserts": lambda x: fail(AssertionError()),
}


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class NoForward(nn.Module):
    pass


class Once(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 1:
            raise OSError("no second run")
        return self.net(x)


class InTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make()

    def forward(self, x):
        if self.training:
            raise OSError("no training")
        return self.net(x)


class Free(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)).repeat(1, 2)


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make().requires_grad_(False)

    def forward(self, x):
        return self.net(x)


class Inside(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.net = make().to(dtype)

    def forward(self, x):
        return self.net(x.to(self.net[0].weight.dtype))


class Holder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make()
        self.extra = nn.Parameter(torch.zeros(2), requires_grad=False)

    def forward(self, x):
        return self.net(x)


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.conv = make(), nn.Conv2d(1, 1, 3)

    def forward(self, x):
        return self.net(x)


def dense():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 2))


def color():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def series():
    return nn.Sequential(nn.Conv1d(1, 2, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())


def large_window():
    return nn.Sequential(nn.Conv2d(1, 2, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def lazy():
    return nn.Sequential(nn.LazyConv2d(2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def meta():
    return make().to("meta")


def double():
    return make().double()


def half():
    return make().half()


def bfloat16():
    return make().bfloat16()


def huge():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 2**22, device="meta"), nn.Linear(2**22, 2, device="meta")
    )


def batch_norm():
    return nn.Sequential(nn.Conv2d(1, 2, 6), nn.BatchNorm2d(2), nn.Flatten())


def width_text(width="wide"):
    return make(len(width))


def wrong_by_width(width):
    return make(width, outputs=width)


def seeds():
    torch.manual_seed(0)
    return make()


def prints():
    print("building")
    return make()


def shared(sharing, width=2):
    import weightshare as ws

    return nn.Sequential(
        ws.nn.Conv2d(1, width, 3, padding=1, sharing=sharing, input_size=6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 2),
    )


def ignores(sharing):
    return make()


def ties():
    net = make()
    net.more = nn.Conv2d(1, 2, 3, padding=1)
    return net


def __getattr__(name):
    if name in OUTPUTS:
        return lambda: Gives(OUTPUTS[name])
    if name.startswith("inside_"):
        return lambda: Inside(getattr(torch, name.removeprefix("inside_")))
    raise AttributeError(name)
