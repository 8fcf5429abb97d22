"""The cases of TRL, out of its GRPOTrainer."""

import inspect
import math
import random
import textwrap
from collections import defaultdict
from types import SimpleNamespace

import torch
import trl.trainer.grpo_trainer as grpo_trainer
from trl import GRPOConfig, GRPOTrainer

from .inputs import Leaves, grid


class Trainer:
    """What GRPOTrainer._compute_loss reads of a trainer; attributes as in GRPOTrainer.__init__."""

    get_high_entropy_mask = GRPOTrainer.get_high_entropy_mask

    def __init__(self, micro_batches: int = 1, **options):
        args = GRPOConfig(
            output_dir="unused",
            report_to="none",
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=4,
            num_generations=2,
            gradient_accumulation_steps=micro_batches,
            **options,
        )
        self.args = args
        self.model = SimpleNamespace(training=True)
        self.accelerator = SimpleNamespace(
            num_processes=1,
            sync_gradients=True,
            gather=lambda x: x,
            reduce=lambda x, reduction: x,
            pad_across_processes=lambda x, dim, pad_index: x,
        )
        self.current_gradient_accumulation_steps = micro_batches
        self.loss_type = args.loss_type
        self.beta = args.beta
        self.epsilon_low = args.epsilon
        self.epsilon_high = args.epsilon if args.epsilon_high is None else args.epsilon_high
        self.importance_sampling_level = args.importance_sampling_level
        self.max_completion_length = args.max_completion_length
        self.top_entropy_quantile = args.top_entropy_quantile
        self.off_policy_mask_threshold = args.off_policy_mask_threshold
        self.use_vllm = False
        self.aux_loss_enabled = False
        self.entropy_coef = args.entropy_coef
        self.use_adaptive_entropy = args.use_adaptive_entropy
        self._entropy_bonus_enabled = self.entropy_coef != 0.0 or self.use_adaptive_entropy
        self._last_world_entropy = float("inf")
        self._entropy_window_stats = None
        self._metrics = {"train": defaultdict(list)}

    def _get_per_token_logps_and_entropies(self, *_, **__):
        return self.logprob, self.entropy, None

    def loss(self, leaves: Leaves, sequences: list[int]) -> torch.Tensor:
        """Of one micro-batch of a batch that is one update."""
        self.logprob, self.entropy = leaves.logprob[sequences], leaves.entropy[sequences]
        mask = leaves.mask[sequences]
        # A sequence without tokens is truncated; in the others a tool wrote what is masked.
        completion_mask = leaves.present[sequences] * (mask.sum(1, keepdim=True) > 0)
        ids = torch.zeros(mask.shape, dtype=torch.long)
        return GRPOTrainer._compute_loss(self, self.model, {
            "prompt_ids": ids[:, :1],
            "prompt_mask": ids[:, :1],
            "completion_ids": ids,
            "completion_mask": completion_mask,
            "tool_mask": mask,
            "advantages": leaves.advantage[sequences],
            "old_per_token_logps": leaves.old[sequences],
            "ref_per_token_logps": leaves.reference[sequences],
            "num_items_in_batch": leaves.mask.sum(),
        })


HIGHER = dict(epsilon=0.2, epsilon_high=0.28)
GSPO = dict(importance_sampling_level="sequence", epsilon=3e-4, epsilon_high=4e-4)
SEQUENCE = dict(importance_sampling_level="sequence")
# By default the library multiplies the KL estimate by the ratio, and differentiates that, too.
PLAIN_KL = dict(beta=0.04, use_bias_correction_kl=False)
WEIGHTED_KL = dict(beta=0.04, use_bias_correction_kl=True)
HALVES = [[0, 1, 2, 3], [4, 5, 6, 7]]
THIRDS = [[0, 1, 2], [3, 4], [5, 6, 7]]
LOSSES = [
    ("grpo", "wide", dict(loss_type="grpo"), None),
    ("bnpo", "wide", dict(loss_type="bnpo"), None),
    ("dr_grpo", "wide", dict(loss_type="dr_grpo", max_completion_length=12), None),
    ("dapo", "wide", dict(loss_type="dapo"), None),
    ("cispo", "wide", dict(loss_type="cispo", epsilon_high=5.0), None),
    ("sapo", "wide", dict(loss_type="sapo"), None),
    ("grpo, clip-higher", "wide", dict(loss_type="grpo", **HIGHER), None),
    ("dapo, clip-higher", "wide", dict(loss_type="dapo", **HIGHER), None),
    ("dapo, two-sided", "wide", dict(loss_type="dapo", delta=2.0, **HIGHER), None),
    ("dapo, KL", "wide", dict(loss_type="dapo", **PLAIN_KL, **HIGHER), None),
    ("grpo, KL, two-sided", "wide", dict(loss_type="grpo", delta=2.0, **PLAIN_KL), None),
    ("cispo, KL", "wide", dict(loss_type="cispo", epsilon_high=5.0, **PLAIN_KL), None),
    ("sapo, KL", "wide", dict(loss_type="sapo", **PLAIN_KL), None),
    ("dapo, weighted KL", "wide", dict(loss_type="dapo", **WEIGHTED_KL, **HIGHER), None),
    ("cispo, weighted KL", "wide",
     dict(loss_type="cispo", epsilon_high=5.0, **WEIGHTED_KL), None),
    ("GSPO, narrow", "near", dict(loss_type="grpo", **GSPO), None),
    ("GSPO, wide", "wide", dict(loss_type="grpo", **SEQUENCE, **HIGHER), None),
    ("GSPO, KL, two-sided", "wide",
     dict(loss_type="grpo", delta=1.5, **PLAIN_KL, **SEQUENCE, **HIGHER), None),
    ("GSPO, weighted KL", "wide",
     dict(loss_type="grpo", **WEIGHTED_KL, **SEQUENCE, **HIGHER), None),
    ("GSPO over tokens", "near", dict(loss_type="dapo", **GSPO), None),
    ("cispo of sequences", "wide", dict(loss_type="cispo", epsilon_high=1.5, **SEQUENCE), None),
    ("sapo of sequences", "wide", dict(loss_type="sapo", **SEQUENCE), None),
    ("top 20 % entropy", "wide", dict(loss_type="dapo", top_entropy_quantile=0.2), None),
    ("top 50 % entropy", "wide", dict(loss_type="grpo", top_entropy_quantile=0.5), None),
    ("top 20 % entropy, KL", "wide",
     dict(loss_type="dapo", top_entropy_quantile=0.2, **PLAIN_KL), None),
    ("top 50 % entropy, GSPO", "near",
     dict(loss_type="grpo", top_entropy_quantile=0.5, **GSPO), None),
    ("top 50 % entropy, bonus", "wide",
     dict(loss_type="dapo", top_entropy_quantile=0.5, entropy_coef=0.02), None),
    ("dapo, entropy bonus", "wide", dict(loss_type="dapo", entropy_coef=0.02), None),
    ("grpo, entropy bonus", "wide", dict(loss_type="grpo", entropy_coef=0.02), None),
    ("grpo, 2 micro-batches", "wide", dict(loss_type="grpo"), HALVES),
    ("bnpo, 2 micro-batches", "wide", dict(loss_type="bnpo"), HALVES),
    ("bnpo, 3 micro-batches", "wide", dict(loss_type="bnpo"), THIRDS),
    ("dr_grpo, 2 micro-batches", "wide",
     dict(loss_type="dr_grpo", max_completion_length=12), HALVES),
    ("dapo, 2 micro-batches", "wide", dict(loss_type="dapo"), HALVES),
    ("dapo, 3 micro-batches, KL", "wide", dict(loss_type="dapo", **PLAIN_KL), THIRDS),
    ("dapo, 3 micro-batches, entropy bonus", "wide",
     dict(loss_type="dapo", entropy_coef=0.02), THIRDS),
]
OPTIONS = (
    "loss_type importance_sampling_level epsilon epsilon_high delta beta use_bias_correction_kl "
    "top_entropy_quantile entropy_coef max_completion_length sapo_temperature_pos "
    "sapo_temperature_neg"
).split()


def loss_case(name: str, batch_name: str, options: dict, micro_batches, batches: dict) -> dict:
    leaves = Leaves(batches[batch_name])
    trainer = Trainer(len(micro_batches or [0]), **options)
    losses = []
    for sequences in micro_batches or [list(range(len(leaves.rows)))]:
        loss = trainer.loss(leaves, sequences)
        assert loss.dtype == torch.float64
        loss.backward()
        losses.append(loss.item())
    case = {"library": "trl", "name": name, "batch": batch_name}
    case["options"] = {key: getattr(trainer.args, key) for key in OPTIONS}
    if micro_batches:
        case["microBatches"] = micro_batches
    case["loss"] = losses
    case["dlogprob"] = leaves.gradient(leaves.logprob)
    if trainer._entropy_bonus_enabled:
        case["dentropy"] = leaves.gradient(leaves.entropy)
    case["metrics"] = dict(trainer._metrics["train"])
    return case


def advantage_lines():
    """The library's lines from rewards_per_func to advantages as a function of its arguments."""
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    begin = source.index("        unscorable_mask = torch.isnan(rewards_per_func)")
    last = "advantages = torch.nan_to_num(advantages, nan=0.0)\n"
    body = textwrap.indent(textwrap.dedent(source[begin : source.index(last) + len(last)]), "    ")
    scope = dict(vars(grpo_trainer))
    exec(f"def f(self, rewards_per_func, num_generations, device):\n{body}"
         "    return advantages\n", scope)
    return scope["f"]


NAN = math.nan
ONE = [[r] for r in [1.0, 0.0, 0.25, 0.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 1.1, 0.0]]
# The second function is the same for all completions of the first prompt.
THREE = [
    [1.0, 0.5, -3.0], [0.0, 0.5, -1.5], [0.0, 0.5, 2.0], [1.0, 0.5, 3.0],
    [0.0, 0.25, 0.5], [0.0, 0.75, 0.5], [1.0, 0.0, -0.5], [0.0, 0.0, 1.0],
    [1.0, 0.125, 2.5], [1.0, 1.0, 2.0], [0.0, 0.375, -2.0], [1.0, 0.5, 0.0],
]
# A completion that no function can score, one that some can't, a prompt of which one completion can
# be scored.
HOLES = [
    [1.0, NAN, -3.0], [NAN, NAN, NAN], [0.0, 0.5, 2.0], [1.0, 0.25, 3.0],
    [NAN, NAN, NAN], [0.5, 0.75, 0.5], [NAN, NAN, NAN], [NAN, NAN, NAN],
    [1.0, 0.125, NAN], [NAN, 1.0, 2.0], [0.0, 0.375, -2.0], [1.0, 0.5, 0.0],
]
ONE_HOLES = [[row[0]] for row in HOLES]
ADVANTAGES = [
    *((f"one function, {scale}", "sum_then_normalize", scale, ONE, [1.0])
      for scale in ["group", "batch", "none"]),
    *((f"three functions, {scale}", "sum_then_normalize", scale, THREE, [1.0, 0.5, 0.25])
      for scale in ["group", "batch", "none"]),
    *((f"one function with NaN, {scale}", "sum_then_normalize", scale, ONE_HOLES, [1.0])
      for scale in ["group", "batch", "none"]),
    *((f"three functions with NaN, {scale}", "sum_then_normalize", scale, HOLES, [1.0, 0.5, 0.25])
      for scale in ["group", "batch", "none"]),
    ("GDPO", "normalize_then_sum", "group", THREE, [1.0, 1.0, 1.0]),
    ("GDPO, weights", "normalize_then_sum", "group", THREE, [1.0, 0.5, 2.0]),
    ("GDPO with NaN", "normalize_then_sum", "group", HOLES, [1.0, 0.5, 2.0]),
]


def advantage_case(name, aggregation, scale, rewards, weights, compute) -> dict:
    trainer = SimpleNamespace(
        multi_objective_aggregation=aggregation,
        scale_rewards=scale,
        reward_weights=torch.tensor(weights),
        reward_funcs=weights,  # only counted
    )
    advantages = compute(trainer, torch.tensor(rewards), 4, torch.device("cpu"))
    assert advantages.dtype == torch.float64
    return {
        "name": name,
        "options": {
            "multi_objective_aggregation": aggregation,
            "scale_rewards": scale,
            "num_generations": 4,
            "reward_weights": weights,
        },
        "rewards": rewards,
        "advantages": advantages.tolist(),
    }


def controller_case(windows: list[list[list[float]]], **options) -> dict:
    """windows: updates of micro-batches of one sequence of token entropies."""
    micro_batches = len(windows[0])
    trainer = Trainer(micro_batches, loss_type="dapo", use_adaptive_entropy=True, **options)
    steps = []
    for window in windows:
        applied = []
        for k, entropies in enumerate(window):
            trainer.accelerator.sync_gradients = k == micro_batches - 1
            rows = [[-0.5] * len(entropies)]
            leaves = Leaves(dict(logprob=rows, old=rows, reference=rows, entropy=[entropies],
                                 mask=[[1] * len(entropies)], advantage=[1.0]))
            trainer.loss(leaves, [0]).backward()
            # The bonus is coefficient * mean entropy / number of micro-batches.
            applied.append(-leaves.entropy.grad.sum().item() * micro_batches)
        assert max(applied) - min(applied) < 1e-12
        # Adding 0 makes a plain 0 of -0.
        steps.append({"entropies": window, "applied": applied[0] + 0.0,
                      "coefficient": trainer.entropy_coef})
    names = ["entropy_coef", "entropy_coef_min", "entropy_coef_max", "entropy_coef_delta",
             "entropy_target"]
    return {"options": {name: getattr(trainer.args, name) for name in names}, "steps": steps}


def controller_cases() -> list[dict]:
    low, high = [[0.125, 0.25]], [[0.75, 0.5, 0.625]]
    draw = random.Random("entropy").uniform
    mixed = [[[grid(draw(0, 0.42), 10) for _ in range(n)] for n in (2, 9)] for _ in range(10)]
    return [
        # Up to the upper bound, down to the lower one, and at the target.
        controller_case([low] * 4 + [high] * 5 + [[[0.375]]] + [low] * 2, entropy_coef=0.125,
                        entropy_coef_delta=0.375, entropy_target=0.375),
        # Micro-batches of unequal length, the library's defaults.
        controller_case(mixed),
    ]


def losses(batches: dict) -> list[dict]:
    return [loss_case(*case, batches) for case in LOSSES]


def advantages() -> list[dict]:
    compute = advantage_lines()
    return [advantage_case(*case, compute) for case in ADVANTAGES]
