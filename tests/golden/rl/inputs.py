"""The batches that both libraries get, and their tensors."""

import math
import random
from collections import defaultdict

import torch

# Batches of sequences. Log ratios per token in the order of the masks; "." is a token of a tool.
MASKS = ["111..1111", "11.111.11", "1", "1111.11", "....", "1.1111", ".1111", "111"]
ADVANTAGES = [1.25, -0.75, 0.5, -1.5, 2.0, 0.0, 0.625, -0.25]
WIDE = [
    [-2.0, -0.5, -0.21, 0.4, -3.0, 0.1, 0.21, 0.8, 1.9],
    [1.3, -0.4, 2.0, 0.22, -1.6, 0.05, -2.5, -0.19, 0.62],
    [0.15],
    [-0.9, 2.1, 0.23, -0.24, 1.0, 0.9, 1.5],
    [0.3, -0.3, 1.2, -1.2],
    [-0.3, 0.1, 0.3, 1.4, 0.0, -1.1],
    [0.7, 0.3, 0.9, -0.02, 0.26],
    [-0.35, -0.02, 0.2],
]


def grid(x: float, bits: int) -> float:
    """The nearest multiple of 2^-bits: exact in float32, and so are sums and differences."""
    return round(x * 2**bits) / 2**bits


def make_batch(kind: str) -> dict:
    draw = random.Random(f"batch {kind}").uniform
    if kind == "wide":
        log_ratios, bits = WIDE, 10
    else:  # Means over a sequence around +-3e-4 and +-4e-4, the bounds of GSPO.
        bits = 16
        means = [7e-4, -6e-4, 2e-4, 9e-4, 0.0, 1e-3, -8e-4, -1e-4]
        log_ratios = [[m + draw(-1e-3, 1e-3) for _ in row] for m, row in zip(means, WIDE)]
    batch = defaultdict(list)
    for row in log_ratios:
        old, new, reference = [], [], []
        for r in row:
            r = grid(r, bits)
            old.append(grid(-0.05 - max(r, 0) - draw(0, 3), 6))
            new.append(old[-1] + r)
            reference.append(new[-1] + grid(draw(-0.7, 0.7), 10))
        batch["logprob"].append(new)
        batch["old"].append(old)
        batch["reference"].append(reference)
        batch["entropy"].append([grid(draw(0, 3), 10) for _ in row])
    batch["mask"] = masks()
    batch["advantage"] = ADVANTAGES
    # Beyond the bounds of verl's clamped k3.
    batch["reference"][1][0] = batch["logprob"][1][0] + 3.0
    batch["reference"][6][2] = batch["logprob"][6][2] - 2.0
    return dict(batch)


def extreme_batch() -> dict:
    """Log ratios beyond verl's clamp at +-20. Only with dual clip, or the losses are astronomic."""
    ratios = [[25.0, -25.0, 0.1], [25.0, -25.0, 0.1]]
    old = [[-26.0, -1.0, -2.0], [-26.0, -1.0, -2.0]]
    return {
        "logprob": [[o + r for o, r in zip(*rows)] for rows in zip(old, ratios)],
        "old": old,
        "reference": old,
        "entropy": [[0.5] * 3] * 2,
        "mask": [[1] * 3] * 2,
        "advantage": [1.0, -1.0],
    }


def masks() -> list[list[int]]:
    return [[int(c == "1") for c in row] for row in MASKS]


def padded(rows: list[list[float]], value: float = 0.0) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.float64)


def ragged(values: torch.Tensor, rows: list[list]) -> list[list[float]]:
    return [value[: len(row)] for value, row in zip(values.tolist(), rows)]


class Leaves:
    """The tensors of a batch; logprob and entropy are leaves. The padding would show in a sum."""

    def __init__(self, batch: dict):
        self.rows = batch["mask"]
        self.mask = padded(self.rows)
        self.present = padded([[1] * len(row) for row in self.rows])
        self.logprob = padded(batch["logprob"], -3.5).requires_grad_()
        self.entropy = padded(batch["entropy"], 7.0).requires_grad_()
        self.old = padded(batch["old"], -2.25)
        self.reference = padded(batch["reference"], -1.5)
        self.advantage = torch.tensor(batch["advantage"], dtype=torch.float64)

    def gradient(self, leaf: torch.Tensor) -> list[list[float]]:
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        assert (gradient * (1 - self.present) == 0).all()
        return ragged(gradient, self.rows)


def check_branches(batches: dict) -> None:
    """Both sides of every bound with every sign of the advantage, or these goldens hold nothing."""
    batch = batches["wide"]
    seen = set()
    for l, o, m, a in zip(batch["logprob"], batch["old"], batch["mask"], batch["advantage"]):
        for new, old, on in zip(l, o, m):
            ratio = math.exp(new - old)
            for bound in [0.8, 1.2, 1.28, 1.5, 2.0, 3.0, 5.0]:
                assert abs(ratio / bound - 1) > 1e-3, (ratio, bound)
                if on and a != 0:
                    seen.add((bound, ratio > bound, a > 0))
    assert len(seen) == 7 * 2 * 2, sorted(seen)
    seen = set()
    batch = batches["near"]
    for l, o, m, a in zip(batch["logprob"], batch["old"], batch["mask"], batch["advantage"]):
        tokens = [new - old for new, old, on in zip(l, o, m) if on]
        ratio = math.exp(sum(tokens) / max(len(tokens), 1)) - 1
        for bound in [-3e-4, 4e-4]:
            assert abs(ratio - bound) > 2e-5, (ratio, bound)
            if tokens and a != 0:
                seen.add((bound, ratio > bound, a > 0))
    assert len(seen) == 2 * 2 * 2, sorted(seen)


def make_batches() -> dict:
    batches = {"wide": make_batch("wide"), "near": make_batch("near"), "extreme": extreme_batch()}
    check_branches(batches)
    return batches
