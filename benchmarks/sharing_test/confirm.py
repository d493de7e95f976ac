"""The verdicts of the package itself on the simulated cases, which are new networks for the frozen rule."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

from weightshare import LowRank
from weightshare.diagnose.examples import open_source
from weightshare.diagnose.runner import run_trials
from weightshare.diagnose.training import Fold, Recipe, Setting, Trial, run_trial
from weightshare.diagnose.verdict import Rule, decide, measure_saved

from . import cases
from .networks import BATCH, Members, Tensors, initialize, train

TRIED, EPOCHS, RATE = LowRank(2), 4, 2e-3


def confirm_cases(count: int, images: Tensor, seed: int, share: bool, fresh: int) -> Iterator[dict]:
    """Draw cases one after the other, train their students, and yield a record of each sharing test.

    The records are those of `experiment.run_cases`, with the verdicts of the package. Controls that the
    package does not train have the gains over continuing. All teachers are planted, or all of them share.

    Args:
        share: Use only teachers that share.
        fresh: Number of fresh images; without any, their gains are missing.
    """
    for number in range(seed, seed + count):
        torch.manual_seed(number)
        generator = torch.Generator().manual_seed(number)
        # of two cases, the second one is planted
        both, recipes, properties = cases.make_cases(2, images, generator, share=share, fresh=fresh)
        chosen = torch.tensor([1])
        members, recipe = both.select(chosen), recipes.select(chosen)
        index = torch.arange(cases.TRAIN)[None]
        start = initialize(cases.STUDENT, 1, images.device)
        student = train(*start, images, members, index, recipe, number)
        model = build_module(*student, members)
        record = {name: value[1].item() for name, value in properties.items() if value.dim() == 1}
        yield {"seed": number} | record | _test(model, images, members, float(recipe.weight_decay))


def build_module(tensors: Tensors, state: Tensors, members: Members) -> nn.Sequential:
    """Return the only member as a module of torch."""
    modules: list[nn.Module] = []
    mode = "circular" if members.circular.item() else "zeros"
    for layer, k in enumerate(cases.STUDENT.kernels):
        weight = tensors[f"{layer}.weight"][0]
        convolution = nn.Conv2d(weight.shape[1], len(weight), k, padding=k // 2, padding_mode=mode)
        convolution.load_state_dict({"weight": weight, "bias": tensors[f"{layer}.bias"][0]})
        modules.append(convolution)
        if members.norm.item():
            norm = nn.BatchNorm2d(len(weight))
            names = {"weight": "gamma", "bias": "beta"}
            held = {name: tensors[f"{layer}.{other}"][0] for name, other in names.items()}
            held |= {f"running_{name}": state[f"{layer}.{name}"][0] for name in ("mean", "var")}
            norm.load_state_dict(held | {"num_batches_tracked": torch.tensor(1)})
            modules.append(norm)
        modules.append(nn.ReLU())
    head = nn.Linear(cases.STUDENT.channels, cases.STUDENT.outputs)
    head.load_state_dict({name: tensors[f"head.{name}"][0] for name in ("weight", "bias")})
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


def _test(model: nn.Module, images: Tensor, members: Members, weight_decay: float) -> dict:
    """Return the gains and verdicts of the layers of a model, judged on one half and on fresh images."""
    x = images[members.source.item(), members.pool[0].long()][:, None]
    is_regression = bool(members.regression.item())
    y = members.targets[0].float() if is_regression else members.labels[0].long()
    source = open_source("data", TensorDataset(x, y), BATCH)
    ends = np.cumsum([cases.TRAIN, cases.HALF, cases.HALF])
    _, one, two, fresh = (tuple(part.tolist()) for part in np.split(np.arange(len(x)), ends))
    folds = (Fold(source, one, source, two + fresh), Fold(source, two, source, one + fresh))
    optimizer = partial(torch.optim.Adam, lr=RATE, weight_decay=weight_decay)
    loss = mse_loss if is_regression else cross_entropy
    recipe = Recipe(EPOCHS, 0, optimizer)
    setting = Setting(model, x[:2], loss, folds, recipe, {str(TRIED): TRIED}, {})
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    rule, runner = Rule(), _Runner(setting)
    losses = run_trials(runner, dict.fromkeys(names, ("relax", TRIED)), len(folds), rule)
    verdicts = [decision.verdict for decision in decide(losses, rule).values()]
    gains = [{control: runner.compare(name, control) for control in rule.controls} for name in names]
    saved = measure_saved(losses[names[0]])
    base = float(np.mean([runner.judged[Trial("continue", "", fold)].mean() for fold in range(2)]))
    return {
        "base": float(f"{base:.4g}"),
        "start": float(f"{saved:.4g}"),
        "statistics": {},
        "verdicts": verdicts,
        "gains": {"relax": gains},
    }


class _Runner:
    """Runs trials of `setting`, whose judged examples end with the fresh images."""

    def __init__(self, setting: Setting):
        self.setting = setting
        self.judged: dict[Trial, np.ndarray] = {}
        self.fresh: dict[Trial, np.ndarray] = {}

    def run(self, trials: Sequence[Trial]) -> dict[Trial, np.ndarray]:
        """Return the losses on the other half."""
        for trial in trials:
            losses = np.array(run_trial(self.setting, trial))
            self.judged[trial], self.fresh[trial] = np.split(losses, [cases.HALF])
        return {trial: self.judged[trial] for trial in trials}

    def compare(self, layer: str, control: str) -> list[float | None]:
        """Return the gain over a control, its error and the gain on fresh images, for both folds and one."""
        rows: list[tuple[float, float, float]] = []
        for fold in range(2):
            base = Trial("continue", "", fold)
            relaxed, other = (Trial(kind, layer, fold, str(TRIED)) for kind in ("relax", control))
            other = other if other in self.judged else base
            difference = (self.judged[other] - self.judged[relaxed]) / self.judged[base].mean()
            fresh = np.nan
            if len(self.fresh[base]):
                fresh = (self.fresh[other] - self.fresh[relaxed]).mean() / self.fresh[base].mean()
            rows.append((difference.mean(), difference.std(ddof=1) / len(difference) ** 0.5, fresh))
        (g0, s0, f0), (g1, s1, f1) = rows
        values = [(g0 + g1) / 2, float(np.hypot(s0, s1)) / 2, (f0 + f1) / 2, g0, s0, f0]
        return [None if np.isnan(value) else float(f"{value:.4g}") for value in values]
