"""Writes what TRL and verl make of losses and advantages. Run from the repository root:

    pip install torch==2.15.0 transformers==5.24.0 trl==1.16.0 numpy
    pip install --no-deps verl==0.9.1
    python tests/golden/make_rl_goldens.py

Every expected number comes out of the libraries' own code, in float64: GRPOTrainer._compute_loss on
a trainer that has no more than what this method reads, the lines of
GRPOTrainer._generate_and_score_completions between rewards and advantages, and the functions of
verl.trainer.ppo.core_algos. verl is loaded without what these don't need (Ray, TensorDict).

Options have the libraries' names. Rows are as long as their sequences (the libraries get them
padded); `mask` is 1 on tokens of the model, 0 on those of a tool or of a truncated sequence. Inputs
are float32 values and no ratio is on a bound, so that every precision takes the same branches.

rl/policy_losses.json
    batches.<name>     logprob, old, reference, entropy, mask: rows; advantage: one per sequence
    losses[]           library, name, batch, options
                       microBatches  the sequences of each, if there are several in one update
                       loss      of every micro-batch, as backward() gets it: their sum is the loss
                       dlogprob  rows: gradient of the sum with respect to logprob
                       dentropy  the same to entropy, if there is an entropy bonus
                       tokenLoss rows: before mask and aggregation (verl only)
                       metrics   what the library logs, of every micro-batch; its NaN is null
    klPenalties[]      verl's kl_penalty of single tokens: kind, logprob, reference, value, dlogprob
    aggregations[]     verl's agg_loss: mode, options, losses, mask, loss, dlosses (the weights)
rl/advantages.json
    trl[]    name, options, rewards [N,K] (null: the function gave none), advantages [N]; the
             completions of a prompt are neighbours, options.num_generations of them
    verl[]   estimator, options, groups [B] (index of the prompt), rewards: rows (per token), mask,
             baselines [B] (remax: reward of greedy decoding); advantages and returns: rows
    whitening[]        verl's masked_whiten: values, mask, options, whitened (also off the mask)
rl/entropy_coefficient.json
    [] of TRL's controller: options, steps[]: entropies (a row per micro-batch), the coefficient
    `applied` in the loss of this step, and `coefficient`, the controller's afterwards
"""

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import torch

sys.dont_write_bytecode = True
from rl import from_trl, from_verl, inputs  # noqa: E402

ROOT = Path(__file__).parent / "rl"


def write(name: str, value: dict | list) -> None:
    """Compact JSON, a line per case; NaN becomes null."""

    def clean(x):
        if isinstance(x, dict):
            return {key: clean(y) for key, y in x.items()}
        if isinstance(x, (list, tuple)):
            return [clean(y) for y in x]
        if isinstance(x, float):
            return None if math.isnan(x) else x + 0.0  # no -0
        return x

    def compact(x):
        return json.dumps(clean(x), separators=(",", ":"), allow_nan=False)

    def lines(x):
        if isinstance(x, list):
            return "[\n" + ",\n".join(map(compact, x)) + "\n]"
        return "{\n" + ",\n".join(f"{compact(k)}:{compact(y)}" for k, y in x.items()) + "\n}"

    if isinstance(value, list):
        text = lines(value)
    else:
        text = "{\n" + ",\n".join(f"{compact(k)}:{lines(y)}" for k, y in value.items()) + "\n}"
    (ROOT / name).write_text(text + "\n")
    print(f"{name}: {len(text) / 1024:.0f} KB")


if __name__ == "__main__":
    assert version("trl") == "1.16.0", f"trl is {version('trl')}"
    torch.set_num_threads(1)
    # The libraries make constants of the default type.
    torch.set_default_dtype(torch.float64)
    verl = from_verl.load_verl()
    batches = inputs.make_batches()
    write("policy_losses.json", {
        "batches": batches,
        "losses": from_trl.losses(batches) + from_verl.losses(verl, batches),
        "klPenalties": from_verl.kl_penalties(verl),
        "aggregations": from_verl.aggregations(verl),
    })
    write("advantages.json", {
        "trl": from_trl.advantages(),
        "verl": from_verl.advantages(verl),
        "whitening": from_verl.whitenings(verl),
    })
    write("entropy_coefficient.json", from_trl.controller_cases())
