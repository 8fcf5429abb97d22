"""Writes the PyTorch goldens that tests/ compare with. Run from the repository root:

    pip install torch transformers safetensors numpy
    python tests/golden/make_goldens.py

For each of llama_untied/ and llama_tied/ (a 2-layer Llama with random weights):

    config.json, model.safetensors   exactly as Transformers' save_pretrained writes them (float32)
    expected.safetensors             logits [13,V] of `ids` as one sequence; packed_logits [13,V] of
                                     the same ids as separate sequences of `packedLengths`;
                                     gradients.<parameter name> of `loss`
    adamw_losses.json                ids, losses (mean over next-token targets, of all sequences
                                     together), and ten AdamW steps on each of the two batches:
                                     the loss and the gradient norm before each update

and policy_loss.json: a table of tokens with the clipped surrogate + k3 loss of each and its
derivative with respect to the new log probability, by autograd.

The weights are float32 values; the arithmetic is float64, except inside RMSNorm, the softmax of the
attention and the rotary angles, where Transformers itself goes through float32.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).parent
VOCAB = 52
IDS = [7, 51, 3, 3, 18, 0, 44, 29, 7, 12, 50, 31, 3]
PACKED_LENGTHS = [7, 6]
STEPS = 10
OPTIMIZER = dict(learningRate=1e-2, beta1=0.9, beta2=0.95, eps=1e-8, weightDecay=0.1, maxNorm=1.0)


def build(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(20 + tied)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        # Ten times the default: with 0.02 all logits are near zero and a wrong kernel goes unseen.
        initializer_range=0.2,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def sequences(packed: bool) -> list[torch.Tensor]:
    ids = torch.tensor(IDS)
    return list(ids.split(PACKED_LENGTHS)) if packed else [ids]


def logits_of(model, packed: bool) -> torch.Tensor:
    return torch.cat([model(ids[None], use_cache=False).logits[0] for ids in sequences(packed)])


def loss_of(model, packed: bool) -> torch.Tensor:
    losses = []
    for ids in sequences(packed):
        logits = model(ids[None], use_cache=False).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none"))
    return torch.cat(losses).mean()


def train(directory: Path, packed: bool) -> tuple[list[float], list[float]]:
    model = load(directory)
    o = OPTIMIZER
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=o["learningRate"],
        betas=(o["beta1"], o["beta2"]),
        eps=o["eps"],
        weight_decay=o["weightDecay"],
    )
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, packed)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), o["maxNorm"])
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms


def load(directory: Path) -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(directory, attn_implementation="eager")
    return model.double().train()


def write_model(name: str, tied: bool) -> None:
    directory = ROOT / name
    build(tied).save_pretrained(directory)
    (directory / "generation_config.json").unlink()

    model = load(directory)
    loss = loss_of(model, packed=False)
    loss.backward()
    expected = {f"gradients.{n}": p.grad for n, p in model.named_parameters()}
    with torch.no_grad():
        expected["logits"] = logits_of(model, packed=False)
        expected["packed_logits"] = logits_of(model, packed=True)
        packed_loss = loss_of(model, packed=True).item()
    expected = {n: t.float().contiguous() for n, t in expected.items()}
    save_file(expected, directory / "expected.safetensors")

    losses, norms = train(directory, packed=False)
    packed_losses, packed_norms = train(directory, packed=True)
    write_json(directory / "adamw_losses.json", {
        "ids": IDS,
        "packedLengths": PACKED_LENGTHS,
        "loss": loss.item(),
        "packedLoss": packed_loss,
        "optimizer": OPTIMIZER,
        "losses": losses,
        "gradientNorms": norms,
        "packedLosses": packed_losses,
        "packedGradientNorms": packed_norms,
    })


def write_policy_loss() -> None:
    clip_low, clip_high, kl = 0.2, 0.28, 0.05
    # Every region of the ratio with both signs of the advantage and none, then random rows.
    log_ratios = [-1.5, -0.3, -0.1, 0.0, 0.1, 0.3, 1.5]
    rows = [(r, a) for a in (1.3, -0.7, 0.0) for r in log_ratios]
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(19, 2, generator=generator, dtype=torch.float64)
    rows += [(0.5 * r, a) for r, a in noise.tolist()]
    n = len(rows)
    log_ratio, advantage = torch.tensor(rows, dtype=torch.float64).T
    draw = lambda: torch.rand(n, generator=generator, dtype=torch.float64)
    old = -0.05 - 4 * draw()
    reference = old + 0.4 * (2 * draw() - 1)
    weight = torch.where(draw() < 0.15, 0.0, 1.0) / 29

    # Round inputs to float32 first, so that every reader starts from the same numbers.
    f32 = lambda t: t.float().double()
    logprob = f32(old + log_ratio).requires_grad_()
    old, reference, weight, advantage = map(f32, (old, reference, weight, advantage))
    ratio = torch.exp(logprob - old)
    surrogate = torch.minimum(ratio * advantage,
                              torch.clamp(ratio, 1 - clip_low, 1 + clip_high) * advantage)
    k3 = torch.exp(reference - logprob) - (reference - logprob) - 1
    loss = weight * (-surrogate + kl * k3)
    loss.sum().backward()
    write_json(ROOT / "policy_loss.json", {
        "clipLow": clip_low,
        "clipHigh": clip_high,
        "klCoefficient": kl,
        "logprob": logprob.tolist(),
        "oldLogprob": old.tolist(),
        "reference": reference.tolist(),
        "advantage": advantage.tolist(),
        "weight": weight.tolist(),
        "loss": loss.tolist(),
        "dlogprob": logprob.grad.tolist(),
    })


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_model("llama_untied", tied=False)
    write_model("llama_tied", tied=True)
    write_policy_loss()
