"""Writes rl/ppo.json: PPO's numbers as verl computes them. Run from the repository root:

    pip install torch numpy
    pip download --no-deps --no-binary :all: verl==0.9.1 && tar xf verl-0.9.1.tar.gz
    python tests/golden/make_ppo_goldens.py verl-0.9.1

Only verl's functions themselves are taken from its source, so that its dependencies (ray, omegaconf,
tensordict) need not be installed: compute_gae_advantage_return, compute_value_loss, agg_loss,
kl_penalty_forward and compute_policy_loss of verl/trainer/ppo/core_algos.py, and what they use of
verl/utils/torch_functional.py.

The table is a padded batch [sequences, tokens] whose mask has holes where a tool wrote, and whose
last sequence has a single token. Every input is rounded to float32 first, and the arithmetic is
float64. Gradients are of the loss, the mean over all tokens of the batch.
"""

import ast
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import torch

TARGET = Path(__file__).parent / "rl" / "ppo.json"
GAMMA, LAMBDA = 0.98, 0.9
CLIP_LOW, CLIP_HIGH, CLIP_DUAL = 0.2, 0.28, 3.0
CLIP_VALUE = 0.2


def functions(path: Path, names: list[str], scope: dict) -> SimpleNamespace:
    """The named functions of a file, without its imports and without their decorators."""
    body = [node for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name in names]
    missing = set(names) - {node.name for node in body}
    if missing:
        sys.exit(f"{path} has no {', '.join(sorted(missing))}")
    for node in body:
        node.decorator_list = []
    scope = {"torch": torch, "Optional": Optional, **scope}
    exec(compile(ast.Module(body, []), str(path), "exec"), scope)
    return SimpleNamespace(**{name: scope[name] for name in names})


def load(root: Path) -> tuple[SimpleNamespace, SimpleNamespace]:
    tools = functions(
        root / "verl/utils/torch_functional.py",
        ["masked_sum", "masked_mean", "masked_var", "masked_whiten", "clip_by_value"],
        {},
    )
    core = functions(
        root / "verl/trainer/ppo/core_algos.py",
        ["compute_gae_advantage_return", "compute_value_loss", "compute_policy_loss", "agg_loss",
         "kl_penalty_forward"],
        {"verl_F": tools},
    )
    return core, tools


def main(root: Path) -> None:
    core, tools = load(root)
    generator = torch.Generator().manual_seed(11)
    rows = ["1101101", "1111000", "1000000", "1011111", "0110011", "0001000"]
    mask = torch.tensor([[float(bit) for bit in row] for row in rows], dtype=torch.float64)
    f32 = lambda t: t.float().double()
    noise = lambda scale: f32(scale * torch.randn(mask.shape, generator=generator, dtype=torch.float64))

    rewards, values = noise(0.5), noise(0.7)
    advantages, returns = core.compute_gae_advantage_return(rewards, values, mask, GAMMA, LAMBDA)
    whitened_rewards = tools.masked_whiten(rewards, mask, shift_mean=False)

    new_values = f32(values + noise(0.3)).requires_grad_()
    value_loss, value_clip_fraction = core.compute_value_loss(
        new_values, returns, values, mask, CLIP_VALUE)
    value_loss.backward()

    old_logprobs = f32(noise(1.0) - 3)
    # Ratios beyond 3 with negative advantages, where the dual clip acts, included.
    logprobs = f32(old_logprobs + noise(0.9))
    policy = {}
    for name, dual in (("vanilla", 1e9), ("dual", CLIP_DUAL)):
        lp = logprobs.clone().requires_grad_()
        loss, clip_fraction, kl, lower_fraction = core.compute_policy_loss(
            old_logprobs, lp, advantages, mask, None, CLIP_LOW, CLIP_HIGH, dual)
        loss.backward()
        policy[name] = {
            "loss": loss.item(),
            "clipFraction": clip_fraction.item(),
            "lowerClipFraction": lower_fraction.item(),
            "dlogprobs": lp.grad.tolist(),
        }
    assert policy["dual"]["lowerClipFraction"] > 0

    reference_logprobs = f32(old_logprobs + noise(0.4))
    kl = {name: (core.kl_penalty_forward(old_logprobs, reference_logprobs, verl) * mask).tolist()
          for name, verl in (("k1", "kl"), ("k2", "mse"), ("k3", "low_var_kl"))}

    golden = {
        "gamma": GAMMA,
        "lambda": LAMBDA,
        "mask": mask.int().tolist(),
        "rewards": rewards.tolist(),
        "whitenedRewards": whitened_rewards.tolist(),
        "values": values.tolist(),
        "advantages": advantages.tolist(),
        "returns": returns.tolist(),
        "clipValue": CLIP_VALUE,
        "newValues": new_values.tolist(),
        "valueLoss": value_loss.item(),
        "valueClipFraction": value_clip_fraction.item(),
        "dvalues": new_values.grad.tolist(),
        "clipLow": CLIP_LOW,
        "clipHigh": CLIP_HIGH,
        "clipDual": CLIP_DUAL,
        "oldLogprobs": old_logprobs.tolist(),
        "logprobs": logprobs.tolist(),
        "policy": policy,
        "referenceLogprobs": reference_logprobs.tolist(),
        "kl": kl,
    }
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
