"""Single operations of PyTorch, as the model in torch_model.py uses them.

Sizes, inputs and what is compared are those of operations.ts, number for number.
"""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F

OPERATIONS = ("rmsnorm", "attention", "lmhead", "adamw")
REPETITION_SECONDS = 0.4

device = "cpu"


def use_device(name):
    global device
    device = name


def on_device(array):
    return torch.from_numpy(array).to(device)


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def rms_norm(x, weight, eps):
    if hasattr(F, "rms_norm"):  # since PyTorch 2.4
        return F.rms_norm(x, weight.shape, weight, eps)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def attention(q, k, v, causal):
    """q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D)"""
    if hasattr(F, "scaled_dot_product_attention"):  # since PyTorch 2.0
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=device).triu(1)
        scores = scores.masked_fill(mask, -math.inf)
    return scores.softmax(-1) @ v


def timed(work, count=1):
    """Times work that does what is measured `count` times, as in protocol.ts."""
    wait()
    cpu, begin = time.process_time(), time.perf_counter()
    value = work()
    wait()
    ms = (time.perf_counter() - begin) * 1000 / count
    return {"ms": ms, "cpuMs": (time.process_time() - cpu) * 1000 / count, "value": value}


def prepare_operation(operation):
    """The value to compare, and a function that makes one timed repetition."""
    if operation == "rmsnorm":
        return repeated(rmsnorm_pass(), lambda y, dx, dw: dw)
    if operation == "attention":
        return repeated(attention_pass(), lambda y, dq, dk, dv: dv[0, :, 0], swapped)
    if operation == "lmhead":
        return repeated(lmhead_pass(), lambda loss, dx, dw: loss)
    return prepare_adamw()


def repeated(run_pass, sample, layout=lambda output: output):
    """`layout` brings an output into the order in which it is compared."""

    def passes(count):
        for _ in range(count):
            outputs = run_pass()
        return checksum(sample(*outputs))

    value = checksum(*(layout(output) for output in run_pass()))
    count = how_many(passes)
    return value, lambda: timed(lambda: passes(count), count)


def rmsnorm_pass():
    rows, width, eps = 4096, 256, 1e-5
    x, w, dy = uniforms(1, (rows * width, 1), (width, 1), (rows * width, 1))
    x, dy = x.view(rows, width), dy.view(rows, width)
    return with_gradients(lambda x, w: rms_norm(x, w, eps), (x, w), dy)


def attention_pass():
    batch, length, heads, dim = 8, 128, 4, 64
    size = batch * length * heads * dim
    inputs = uniforms(1, (size, 8), (size, 1), (size, 1), (size, 1))
    q, k, v, dy = (swapped(t.view(batch, length, heads, dim)).contiguous() for t in inputs)
    return with_gradients(lambda q, k, v: attention(q, k, v, causal=True), (q, k, v), dy)


def lmhead_pass():
    rows, width, vocabulary = 1024, 256, 8192
    unit = math.sqrt(12)
    wanted = (rows * width, unit), (vocabulary * width, unit / math.sqrt(width)), (rows, 1)
    x, w, t = uniforms(1, *wanted)
    targets = ((t.double() + 0.5) * vocabulary).floor().long()
    x, w = x.view(rows, width), w.view(vocabulary, width)
    return with_gradients(lambda x, w: F.cross_entropy(F.linear(x, w), targets), (x, w))


def prepare_adamw():
    rows, columns, updates = 4096, 1024, 16
    begin, *gradients = (t.view(rows, columns) for t in uniforms(1, *[(rows * columns, 1)] * 3))
    w = begin.clone().requires_grad_()
    optimizer = fresh_adamw([w])

    def update(rows, columns):
        for i in range(updates):
            w.grad = gradients[i % 2]
            optimizer.step()
        part = slice(rows), slice(columns)
        return checksum(w.detach()[part] - begin[part])

    return update(rows, columns), lambda: timed(lambda: update(1, 256), updates)


def fresh_adamw(weights):
    # The default picks the multi-tensor form only on GPUs; `foreach` is faster on the CPU too.
    return torch.optim.AdamW(
        weights, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, foreach=True
    )


def with_gradients(f, inputs, dy=None):
    inputs = [t.requires_grad_() for t in inputs]

    def run():
        y = f(*inputs)
        return (y.detach(), *torch.autograd.grad(y, inputs, dy))

    return run


def swapped(x):
    """(B, T, H, D) to (B, H, T, D), or back"""
    return x.transpose(1, 2)


def how_many(passes):
    """How many passes take about 400 ms, when warm."""
    passes(1)
    count = 1
    while True:
        wait()
        begin = time.perf_counter()
        passes(count)
        wait()
        seconds = time.perf_counter() - begin
        if seconds > REPETITION_SECONDS / 2:
            return math.ceil(count * REPETITION_SECONDS / seconds)
        count *= 2


def uniforms(seed, *wanted):
    """The numbers of `uniforms` in operations.ts, bit for bit; `wanted` has (how many, factor)."""
    total = sum(count for count, _ in wanted)
    a, c = 1664525, 1013904223
    block = math.isqrt(total) + 1  # the generator, modulo 2^32, jumps from block to block
    factors, offsets = np.empty(block, np.uint32), np.empty(block, np.uint32)
    factor, offset = 1, 0
    for i in range(block):  # state after i + 1 steps = factor * state + offset
        factor, offset = factor * a % 2**32, (offset * a + c) % 2**32
        factors[i], offsets[i] = factor, offset
    states, state = np.empty(block * block, np.uint32), seed
    for at in range(0, total, block):
        states[at : at + block] = factors * np.uint32(state) + offsets
        state = int(states[at + block - 1])
    arrays, at = [], 0
    for count, scale in wanted:
        uniform = states[at : at + count] / 2.0**32 - 0.5
        arrays.append(on_device((uniform * scale).astype(np.float32)))
        at += count
    return arrays


def checksum(*tensors):
    """As in operations.ts."""
    flat = [t.detach().reshape(-1).double() for t in tensors]
    (random,) = uniforms(2, (max(t.numel() for t in flat), 1))
    return math.prod(torch.dot(t, random[: t.numel()].double()).item() for t in flat)
