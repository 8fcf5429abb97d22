"""PyTorch as a contender, on the CPU or a CUDA device; the protocol is described in protocol.ts.

    python3 torch_model.py --work matmul:512|step|decode:16|rmsnorm|... --data DIR [--threads N]
        [--device cpu|cuda]

Works with PyTorch 1.13 and 2.x. Eager, as most people run it: no torch.compile. Set
OPENBLAS_NUM_THREADS to the same N, since a BLAS with threads of its own does not heed torch's
setting, and OMP_WAIT_POLICY=PASSIVE, or the two kinds of threads fight for the cores.

Letters in the shape comments: B sequences, T tokens, C hidden size, H heads, K key/value heads, D head size,
V vocabulary.
"""

import argparse
import json
import math
import os
import re
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

from torch_ops import (
    OPERATIONS,
    attention,
    fresh_adamw,
    on_device,
    prepare_operation,
    rms_norm,
    timed,
    uniforms,
    use_device,
)

DECODE_PROMPT = 64
DECODE_STEPS = 64


def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    weights = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
        weights[name] = on_device(values.copy())
    return weights


class Llama:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            self.config = json.load(file)
        self.weights = read_safetensors(os.path.join(folder, "model.safetensors"))
        dim = self.config["head_dim"]
        frequencies = self.config["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
        angles = np.outer(np.arange(256), np.tile(frequencies, 2))  # (position, D)
        self.cos = on_device(np.cos(angles).astype(np.float32))
        self.sin = on_device(np.sin(angles).astype(np.float32))

    def rotate(self, x, start):
        """x (B, H, T, D), rotate-half layout; the first token is at position `start`"""
        T, half = x.shape[2], x.shape[3] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), -1)
        return x * self.cos[start : start + T] + turned * self.sin[start : start + T]

    def forward(self, tokens, start=0, cache=None):
        """tokens (B, T) from position `start` -> hidden states (B, T, C).

        `cache` holds (k, v) of each layer, (B, K, capacity, D); it is written in place.
        """
        config, w = self.config, self.weights
        B, T = tokens.shape
        D, eps = config["head_dim"], config["rms_norm_eps"]
        groups = config["num_attention_heads"] // config["num_key_value_heads"]
        x = F.embedding(tokens, w["model.embed_tokens.weight"])
        for layer in range(config["num_hidden_layers"]):
            p = f"model.layers.{layer}."
            h = rms_norm(x, w[p + "input_layernorm.weight"], eps)
            q, k, v = (
                F.linear(h, w[p + f"self_attn.{name}_proj.weight"])
                .view(B, T, -1, D)
                .transpose(1, 2)
                for name in "qkv"
            )
            q, k = self.rotate(q, start), self.rotate(k, start)
            if cache is not None:
                keys, values = cache[layer]
                keys[:, :, start : start + T] = k
                values[:, :, start : start + T] = v
                k, v = keys[:, :, : start + T], values[:, :, : start + T]
            if groups > 1:
                k, v = (t.repeat_interleave(groups, 1) for t in (k, v))
            h = attention(q, k, v, causal=T > 1).transpose(1, 2).reshape(B, T, -1)
            x = x + F.linear(h, w[p + "self_attn.o_proj.weight"])
            h = rms_norm(x, w[p + "post_attention_layernorm.weight"], eps)
            gate = F.silu(F.linear(h, w[p + "mlp.gate_proj.weight"]))
            up = F.linear(h, w[p + "mlp.up_proj.weight"])
            x = x + F.linear(gate * up, w[p + "mlp.down_proj.weight"])
        return rms_norm(x, w["model.norm.weight"], eps)

    def logits(self, hidden):
        return F.linear(hidden, self.weights["lm_head.weight"])


def read_tokens(folder):
    with open(os.path.join(folder, "tokens.json")) as file:
        tokens = json.load(file)
    return on_device(np.array(tokens["inputs"])), on_device(np.array(tokens["targets"]))


def prepare_matmul(n):
    y0, w = (m.view(n, n) for m in uniforms(1, (n * n, 1), (n * n, math.sqrt(12 / n))))
    chain = max(1, round(8 * (1024 / n) ** 3))  # products per repetition, as in protocol.ts

    def products():
        y = y0
        for _ in range(chain):
            y = y @ w
        return y[0, 0].item()

    return products(), lambda: timed(products, chain)


def prepare_step(folder):
    model = Llama(folder)
    inputs, targets = read_tokens(folder)
    initial = {name: w.clone() for name, w in model.weights.items()}

    def fresh_optimizer():
        model.weights = {name: w.clone().requires_grad_() for name, w in initial.items()}
        return fresh_adamw(model.weights.values())

    def step(optimizer):
        optimizer.zero_grad(set_to_none=True)
        logits = model.logits(model.forward(inputs))  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    warm = fresh_optimizer()
    value = step(warm)
    step(warm)
    optimizer = fresh_optimizer()
    return value, lambda: timed(lambda: step(optimizer))


def prepare_decode(batch, folder):
    """One fixed cache written in place: growing it by concatenation copies it every token."""
    model = Llama(folder)
    inputs, _ = read_tokens(folder)
    rows = [inputs[b % len(inputs), :DECODE_PROMPT] for b in range(batch)]
    prompts = torch.stack(rows)  # (B, prompt)
    config = model.config
    shape = (
        batch,
        config["num_key_value_heads"],
        DECODE_PROMPT + DECODE_STEPS,
        config["head_dim"],
    )
    layers = range(config["num_hidden_layers"])
    cache = [tuple(on_device(np.zeros(shape, np.float32)) for _ in "kv") for _ in layers]

    @torch.no_grad()
    def run():
        hidden = model.forward(prompts, 0, cache)
        first = model.logits(hidden[:, -1:]).argmax(-1)  # (B, 1), the first generated token

        def steps():
            token, tokens = first, []
            for i in range(DECODE_STEPS):
                tokens.append(token)
                hidden = model.forward(token, DECODE_PROMPT + i, cache)
                token = model.logits(hidden).argmax(-1)
            return torch.cat(tokens, 1)[0].tolist()

        return timed(steps)

    return run()["value"], run


def prepare(work, folder):
    kind, _, size = work.partition(":")
    if kind == "matmul":
        return prepare_matmul(int(size))
    if kind == "step":
        return prepare_step(folder)
    if kind == "decode":
        return prepare_decode(int(size), folder)
    if kind in OPERATIONS:
        return prepare_operation(kind)
    names = ", ".join(OPERATIONS)
    raise ValueError(f'Cannot do work "{work}": choose step, {names}, matmul:N or decode:B')


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    use_device(options.device)
    torch.set_num_threads(options.threads)
    value, run = prepare(options.work, options.data)
    if options.device == "cuda":
        backend = torch.cuda.get_device_name()
    else:
        check_blas()
        backend = f"cpu, {options.threads} thread" + ("s" if options.threads > 1 else "")
    say({"ready": True, "library": f"torch {torch.__version__}", "backend": backend, "value": value})
    for line in sys.stdin:
        if line.strip() == "run":
            say(run())


def check_blas():
    """Debian's PyTorch runs without an optimised BLAS too, 30 times slower: no fair comparison."""
    if "BLAS_INFO=generic" not in torch.__config__.show() or not os.path.exists("/proc/self/maps"):
        return
    with open("/proc/self/maps") as file:
        if not re.search("openblas|mkl|blis|atlas", file.read()):
            raise RuntimeError("PyTorch has no fast BLAS here (Debian: apt-get install libopenblas0)")


def say(message):
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # one line for the parent, which then skips this contender
        say({"error": str(error).split("\n")[0]})
