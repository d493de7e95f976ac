"""`unshared` is the same for a model whose weights are sharded over two processes."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.utils.parametrizations import weight_norm

import weightshare as ws
from tests.helpers.processes import on_two_processes


class Convolutions(nn.Module):
    """Convolutions of equal size, with a weight of the model itself and a normalized weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.weight = nn.Parameter(torch.zeros(2, 4, 1, 1))
        self.last = weight_norm(nn.Conv2d(2, 2, 1))

    def forward(self, x):
        return self.last(F.conv2d(self.second(self.first(x)), self.weight))


def process(rank):
    kernel, small = 4 * 4 * 9 + 4, 8 + (4 + 2)
    expected = kernel * 36 + kernel * 16 + small * 16 + 2
    by_layer = Convolutions()
    fully_shard(by_layer.second)
    fully_shard(by_layer)
    cpu = torch.device("cpu")
    models = [Convolutions(), by_layer] + [
        FullyShardedDataParallel(Convolutions(), use_orig_params=use, device_id=cpu) for use in (True, False)
    ]
    for model in models:
        answer = ws.summary(model, torch.zeros(1, 4, 8, 8))
        assert answer.totals.unshared == expected
        assert not [note for note in answer.warnings if note.code in ("NOT_UNSHARED", "NOT_COUNTED")]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch without gloo")
def test_two_processes(tmp_path):
    on_two_processes(process, tmp_path)
