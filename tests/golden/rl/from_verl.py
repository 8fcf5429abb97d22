"""The cases of verl, out of its core_algos."""

import importlib
import importlib.util
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch

from .inputs import Leaves, grid, masks, padded, ragged

VERSION = "0.9.1"


@dataclass
class ActorConfig:
    """The fields of verl's ActorConfig that its losses read, with its defaults."""

    clip_ratio: float = 0.2
    clip_ratio_low: float = 0.2
    clip_ratio_high: float = 0.2
    clip_ratio_c: float = 3.0
    tau_pos: float = 1.0
    tau_neg: float = 1.05
    global_batch_info: dict = field(default_factory=dict)

    def get(self, key, default=None):
        return getattr(self, key, default)


def load_verl() -> SimpleNamespace:
    """core_algos and torch_functional, in packages without their __init__.py, which need Ray."""
    found = importlib.util.find_spec("verl")
    if found is None:
        sys.exit(f"Cannot find verl: pip install --no-deps verl=={VERSION}")
    root = Path(found.origin).parent
    installed = (root / "version" / "version").read_text().strip()
    assert installed == VERSION, f"verl is {installed}"

    def put(name: str, **attributes) -> None:
        sys.modules[name] = module = ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        module.__dict__.update(attributes)

    for name in ["verl", "verl.trainer", "verl.trainer.ppo", "verl.workers"]:
        put(name)
    put("omegaconf", DictConfig=dict)
    put("tensordict", TensorDict=dict)
    put("verl.utils")
    put("verl.utils.device", get_device_name=lambda: "cpu", get_torch_device=lambda: torch.cpu)
    put("verl.trainer.config")
    put("verl.workers.config", ActorConfig=ActorConfig)
    groupwise = importlib.import_module("verl.utils.groupwise")
    for name in groupwise.__all__:
        setattr(sys.modules["verl.utils"], name, getattr(groupwise, name))
    algorithm = importlib.import_module("verl.trainer.config.algorithm")
    sys.modules["verl.trainer.config"].AlgoConfig = algorithm.AlgoConfig
    core = importlib.import_module("verl.trainer.ppo.core_algos")
    return SimpleNamespace(core=core, functional=core.verl_F, AlgoConfig=algorithm.AlgoConfig)


WIDER = dict(clip_ratio_low=0.2, clip_ratio_high=0.28)
NARROW = dict(clip_ratio_low=3e-4, clip_ratio_high=4e-4)
LOSSES = [
    ("vanilla", "wide", "token-mean", dict(**WIDER)),
    ("vanilla", "wide", "seq-mean-token-mean", dict(**WIDER)),
    ("vanilla", "wide", "token-mean", dict(**WIDER, clip_ratio_c=1.5)),
    ("vanilla", "extreme", "token-mean", dict()),
    ("gspo", "near", "seq-mean-token-mean", dict(**NARROW)),
    ("gspo", "near", "token-mean", dict(**NARROW)),
    ("gspo", "wide", "seq-mean-token-mean", dict(**WIDER)),
    ("sapo", "wide", "seq-mean-token-mean", dict()),
    ("cispo", "wide", "token-mean", dict(clip_ratio_low=0.2, clip_ratio_high=4.0)),
    # Bounded above alone, as in the paper and in TRL.
    ("cispo", "wide", "token-mean", dict(clip_ratio_low=1.0, clip_ratio_high=4.0)),
]


def loss_case(verl, rule: str, batch_name: str, mode: str, options: dict, batches: dict) -> dict:
    leaves = Leaves(batches[batch_name])
    config = ActorConfig(**options)
    aggregate, seen = verl.core.agg_loss, []

    def agg_loss(loss_mat, **rest):
        seen.append(loss_mat)
        return aggregate(loss_mat=loss_mat, **rest)

    verl.core.agg_loss = agg_loss
    advantages = leaves.advantage[:, None] * leaves.mask
    loss, metrics = verl.core.get_policy_loss_fn(rule)(
        leaves.old, leaves.logprob, advantages, leaves.mask, mode, config)
    verl.core.agg_loss = aggregate
    loss.backward()
    assert loss.dtype == torch.float64
    names = ["clip_ratio_low", "clip_ratio_high"]
    names += {"vanilla": ["clip_ratio_c"], "sapo": ["tau_pos", "tau_neg"]}.get(rule, [])
    return {
        "library": "verl",
        "name": rule,
        "batch": batch_name,
        "options": {"loss_agg_mode": mode, **{name: getattr(config, name) for name in names}},
        "loss": [loss.item()],
        "dlogprob": leaves.gradient(leaves.logprob),
        "tokenLoss": ragged(seen[0].detach(), leaves.rows),
        "metrics": {key: [value] for key, value in metrics.items()},
    }


def kl_penalties(verl) -> list[dict]:
    # log(reference / policy) inside, at 0, beyond where k3 passes 10, beyond where it is cut at 20.
    differences = [0.0, 0.125, -0.125, 1.0, -1.0, 2.375, 2.5, 3.0, -9.0, -12.0, 21.0, -21.0]
    cases = []
    for kind in ["k1", "abs", "mse", "low_var_kl", "k1+", "abs+", "k3+"]:
        logprob = torch.tensor([-22.0 if d > 0 else -0.25 for d in differences])
        reference = logprob + torch.tensor(differences)
        logprob.requires_grad_()
        value = verl.core.kl_penalty(logprob, reference, kind)
        value.sum().backward()
        cases.append({"kind": kind, "logprob": logprob.tolist(), "reference": reference.tolist(),
                      "value": value.tolist(), "dlogprob": logprob.grad.tolist()})
    return cases


def aggregations(verl) -> list[dict]:
    draw = random.Random("aggregation").uniform
    mask = masks()
    losses = [[grid(draw(-2, 2), 10) for _ in row] for row in mask]
    cases = []
    for mode, options in [
        ("token-mean", {}),
        ("token-mean", {"batch_num_tokens": 100}),
        ("token-sum", {}),
        ("seq-mean-token-sum", {}),
        ("seq-mean-token-sum", {"global_batch_size": 20}),
        ("seq-mean-token-sum-norm", {"loss_scale_factor": 12}),
        ("seq-mean-token-mean", {}),
        ("seq-mean-token-mean", {"global_batch_size": 20}),
    ]:
        matrix = padded(losses, 50.0).requires_grad_()
        loss = verl.core.agg_loss(matrix, padded(mask), mode, **options)
        loss.backward()
        cases.append({"mode": mode, "options": options, "losses": losses, "mask": mask,
                      "loss": loss.item(), "dlosses": ragged(matrix.grad, mask)})
    return cases


# The last two prompts have two and one completions.
GROUPS = [0, 0, 0, 1, 1, 1, 2, 2]
SINGLE = [0, 0, 0, 0, 1, 1, 1, 2]
SCORES = [1.0, 0.0, 0.25, 0.5, 0.5, 0.5, -1.0, 2.0]
SCORES_LATER = [0.0, 1.1, 1.1, 0.25, 0.0, 0.75, 0.1, 1.5]
ADVANTAGES = [
    *(("grpo", dict(norm_adv_by_std_in_grpo=norm), groups)
      for norm in [True, False] for groups in [GROUPS, SINGLE]),
    ("grpo_passk", dict(norm_adv_by_std_in_grpo=True), GROUPS),
    ("grpo_passk", dict(norm_adv_by_std_in_grpo=False), GROUPS),
    ("reinforce_plus_plus", dict(gamma=1.0), GROUPS),
    ("reinforce_plus_plus", dict(gamma=1.0), GROUPS, True),
    ("reinforce_plus_plus", dict(gamma=0.9), GROUPS, True),
    ("reinforce_plus_plus_baseline", dict(), GROUPS),
    ("reinforce_plus_plus_baseline", dict(), SINGLE),
    ("rloo", dict(), GROUPS),
    ("rloo", dict(), SINGLE),
    ("opo", dict(), GROUPS),
    ("opo", dict(), SINGLE),
    ("remax", dict(), GROUPS),
]


def advantage_case(verl, name: str, options: dict, groups: list[int], costs: bool = False) -> dict:
    mask = masks()
    scores = SCORES if groups is GROUPS else SCORES_LATER
    rewards = [[0.0] * (len(row) - 1) + [score] for row, score in zip(mask, scores)]
    if costs:  # every token of the model has one, as with a KL penalty in the reward
        draw = random.Random("rewards").uniform
        rewards = [[r + (grid(draw(-0.1, 0), 10) if m else 0.0) for r, m in zip(*rows)]
                   for rows in zip(rewards, mask)]
    arguments = dict(token_level_rewards=padded(rewards), response_mask=padded(mask),
                     config=verl.AlgoConfig(**options))
    case = {"estimator": name, "options": options, "groups": groups, "rewards": rewards,
            "mask": mask}
    if name == "grpo":
        arguments.update(options)
    if name == "remax":
        case["baselines"] = [grid(0.3 * i - 1, 10) for i in range(len(mask))]
        arguments["reward_baselines"] = torch.tensor(case["baselines"])
    elif name != "reinforce_plus_plus":
        arguments["index"] = np.array(groups)
    advantages, returns = verl.core.get_adv_estimator_fn(name)(**arguments)
    assert advantages.dtype == torch.float64
    return {**case, "advantages": ragged(advantages, mask), "returns": ragged(returns, mask)}


def whitenings(verl) -> list[dict]:
    draw = random.Random("whitening").uniform
    mask = masks()
    values = [[grid(draw(-1, 3), 10) for _ in row] for row in mask]
    return [
        {
            "options": {"shift_mean": shift},
            "values": values,
            "mask": mask,
            "whitened": ragged(
                verl.functional.masked_whiten(padded(values, 50.0), padded(mask), shift), mask),
        }
        for shift in [True, False]
    ]


def losses(verl, batches: dict) -> list[dict]:
    return [loss_case(verl, *case, batches) for case in LOSSES]


def advantages(verl) -> list[dict]:
    return [advantage_case(verl, *case) for case in ADVANTAGES]
