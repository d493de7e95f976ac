"""The paired comparison: fit each candidate on one half of the unseen images and judge it on the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import cases
from .candidates import bias_map, blind, relax, widen
from .cases import make_cases
from .gradients import bank_gradients, position_gradients, predicted, statistics
from .networks import Architecture, Members, Recipe, Tensors, evaluate, initialize, train

EPOCHS, RATE = 4, 2e-3
#: With `quick`, controls are fitted only where relaxing beats continuing by this fraction of the loss.
PROMISING = 0.0075
Network = tuple[Tensors, Tensors]
Losses = dict[tuple[str, int], tuple[Tensor, Tensor]]


@dataclass
class Setting:
    """Students and their data, with indices of the halves of the unseen images and of the fresh images."""

    student: Network
    images: Tensor
    members: Members
    weight_decay: Tensor
    layers: range

    def __post_init__(self) -> None:
        count, total = self.members.pool.shape
        everything = torch.arange(total, device=self.images.device).expand(count, -1)
        sizes = (cases.TRAIN, cases.HALF, cases.HALF, total - cases.TRAIN - 2 * cases.HALF)
        self.train, *self.halves, self.fresh = everything.split(sizes, 1)

    def fit(self, network: Network, fold: int, epochs: int = EPOCHS) -> Network:
        ones = torch.ones_like(self.weight_decay)
        recipe = Recipe(ones.int() * epochs, ones * RATE, self.weight_decay, ones * 0.95)
        return train(*network, self.images, self.members, self.halves[fold], recipe, 100 + fold)

    def losses(self, network: Network, fold: int) -> tuple[Tensor, Tensor]:
        """Return the losses [N, n] on the judged images and on the fresh images."""
        judged, fresh = (
            evaluate(*network, self.images, self.members, index)
            for index in (self.halves[1 - fold], self.fresh)
        )
        return judged, fresh


def run_cases(
    count: int,
    images: Tensor,
    seed: int,
    arch: Architecture = cases.STUDENT,
    share: bool = False,
    null: bool = False,
    quick: bool = False,
) -> list[dict]:
    """Draw N cases, train their students, try every layer and return one record per case.

    A record has the properties of the case, `base` (loss of the continued network), `start` (what continuing
    saves), `statistics` by name and layer, and `gains[kind][layer][control]`. The latter are the gain on the
    judged images, its standard error and the gain on fresh images, of both folds together and then of the
    first fold alone. All are fractions of the loss of the continued network.

    Args:
        share: Use only teachers that share.
        null: Draw the labels from the predictions of the student, and perturb its weights.
        quick: Measure no gradients, and fit the controls of a layer only where relaxing it is promising.
    """
    device = images.device
    torch.manual_seed(seed)
    generator = torch.Generator(device).manual_seed(seed)
    members, recipe, properties = make_cases(count, images, generator, arch, share=share)
    setting = Setting(
        initialize(arch, count, device), images, members, recipe.weight_decay, range(len(arch.kernels))
    )
    setting.student = train(*setting.student, images, members, setting.train, recipe, seed)
    if null:
        relabel(setting, generator)
    measured, tops = ({}, [{}, {}]) if quick else measure_gradients(setting)
    folds = [compare(setting, fold, tops[fold], quick) for fold in (0, 1)]
    if not quick:
        spreads = [measure_spread(setting, fold) for fold in (0, 1)]
        measured["spread"] = [(a + b) / 2 for a, b in zip(*spreads, strict=True)]
    return _records(properties, measured, folds, setting.layers)


def relabel(setting: Setting, generator: torch.Generator) -> None:
    """Draw the labels from the predictions of the students, and perturb their weights."""
    tensors, state = setting.student
    members, device = setting.members, setting.images.device
    logits = cases.outputs(tensors, state, setting.images, members)
    noise = (members.targets.float() - logits).square().mean((1, 2), keepdim=True).sqrt()
    setting.members = replace(members, labels=members.labels.clone(), targets=members.targets.clone())
    everyone = torch.arange(len(logits), device=device)
    cases.set_labels(setting.members, everyone, logits, logits, noise, generator)

    def perturb(value: Tensor) -> Tensor:
        deviation = value.flatten(1).std(1).view(-1, *(1,) * (value.dim() - 1))
        return value + 0.3 * deviation * torch.randn(value.shape, generator=generator, device=device)

    setting.student = {n: perturb(v) if n.endswith("weight") else v for n, v in tensors.items()}, state


def measure_gradients(setting: Setting) -> tuple[dict[str, list[Tensor]], list[dict[int, Tensor]]]:
    """Return statistics [N] by name and layer, and for each fold and layer the informed coefficients."""
    network = (*setting.student, setting.images, setting.members)
    tops: list[dict[int, Tensor]] = [{}, {}]
    measured: dict[str, list[Tensor]] = {}
    for layer in setting.layers:
        found, top = statistics(
            [position_gradients(*network, half, layer) for half in setting.halves], setting.images.shape[-1]
        )
        decrease = torch.zeros_like(setting.weight_decay)
        for fold in (0, 1):
            tops[fold][layer] = top[fold]
            moments = bank_gradients(*network, setting.halves[1 - fold], layer, top[fold].flatten(2))
            decrease += predicted(*moments, cases.HALF) / 2
        for name, value in (found | {"predicted": decrease}).items():
            if value.dim() == 1:
                measured.setdefault(name, []).append(value)
    return measured, tops


def measure_spread(setting: Setting, fold: int) -> list[Tensor]:
    """Return the spread [N] of each layer's coefficients after two epochs with every layer relaxed."""
    tensors, state = setting.student
    generator = torch.Generator(setting.images.device).manual_seed(fold)
    for layer in setting.layers:
        tensors = relax(tensors, layer, setting.images.shape[-1], generator)
    fitted, _ = setting.fit((tensors, state), fold, epochs=2)
    coefficients = [
        fitted[f"{layer}.rows"][..., None] + fitted[f"{layer}.columns"][..., None, :]
        for layer in setting.layers
    ]
    return [a.std((2, 3)).mean(1) for a in coefficients]


def compare(setting: Setting, fold: int, tops: dict[int, Tensor], quick: bool) -> Losses:
    """Return the losses of each candidate, by kind and layer, after fitting it on one half."""
    (tensors, state), size = setting.student, setting.images.shape[-1]
    generator = torch.Generator(setting.images.device)
    losses = {("start", 0): setting.losses(setting.student, fold)}
    losses["continue", 0] = reference = setting.losses(setting.fit(setting.student, fold), fold)

    def candidates(layer: int) -> Iterator[tuple[str, Callable[[], Network]]]:
        yield "relax", lambda: (relax(tensors, layer, size, generator), state)
        yield "blind", lambda: (blind(tensors, layer, generator), state)
        yield "wide", lambda: widen(tensors, state, layer, generator)
        yield "map", lambda: (bias_map(tensors, layer, size), state)
        if layer in tops:
            yield "informed", lambda: (relax(tensors, layer, size, generator, tops[layer]), state)

    for layer in setting.layers:
        for kind, make in candidates(layer):
            generator.manual_seed(1000 * (1 + fold) + layer)
            if quick and kind != "relax" and not _is_promising(reference[0], losses["relax", layer][0]):
                losses[kind, layer] = reference
            else:
                losses[kind, layer] = setting.losses(setting.fit(make(), fold), fold)
    return losses


def _is_promising(reference: Tensor, relaxed: Tensor) -> bool:
    return bool(((reference - relaxed).mean(1) > PROMISING * reference.mean(1)).any())


def _records(
    properties: dict[str, Tensor], measured: dict[str, list[Tensor]], folds: list[Losses], layers: range
) -> list[dict]:
    def paired(fold: int, control: str, kind: str, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        judged, fresh = folds[fold]["continue", 0]
        other = folds[fold]["continue", 0] if control == "continue" else folds[fold][control, layer]
        relaxed = folds[fold][kind, layer]
        difference = (other[0] - relaxed[0]) / judged.mean(1, keepdim=True)
        gain = (other[1] - relaxed[1]).mean(1) / fresh.mean(1)
        return difference.mean(1), difference.std(1) / difference.shape[1] ** 0.5, gain

    base, start = (folds[0][name, 0][1].mean(1) for name in ("continue", "start"))
    kinds = [kind for kind in ("relax", "informed") if (kind, 0) in folds[0]]
    records: list[dict] = []
    for i in range(len(base)):
        record = {name: value[i].item() for name, value in properties.items() if value.dim() == 1}
        record |= {"base": _round(base[i]), "start": _round(start[i] / base[i] - 1)}
        record["statistics"] = {name: [_round(value[i]) for value in row] for name, row in measured.items()}
        records.append(record | {"gains": {kind: [{} for _ in layers] for kind in kinds}})
    for kind in kinds:
        for layer in layers:
            for control in ("continue", "blind", "wide", "map"):
                (g0, s0, f0), (g1, s1, f1) = (paired(fold, control, kind, layer) for fold in (0, 1))
                values = torch.stack(
                    [(g0 + g1) / 2, (s0**2 + s1**2).sqrt() / 2, (f0 + f1) / 2, g0, s0, f0], 1
                )
                for record, row in zip(records, values, strict=True):
                    record["gains"][kind][layer][control] = [_round(value) for value in row]
    return records


def _round(value: Tensor) -> float:
    return float(f"{value.item():.4g}")
