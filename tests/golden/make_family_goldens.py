"""Writes the goldens of the model families. Run from the repository root:

    pip install torch transformers safetensors numpy
    python tests/golden/make_family_goldens.py

For each of families/<name>/ (a model of two to four layers with random weights):

    config.json, model.safetensors   as Transformers' save_pretrained writes them (float32)
    expected.safetensors             logits [25,V] of `ids`; gradients.<tensor name> of the mean
                                     next-token loss
    expected.json                    ids, loss, and the 64 tokens that follow the ids greedily, with
                                     the smallest lead of the best token over the second

Arithmetic is float64 but for the places where Transformers itself goes through float32.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

ROOT = Path(__file__).parent / "families"
IDS = [7, 51, 3, 3, 18, 0, 44, 29, 7, 12, 50, 31, 3, 9, 9, 40, 22, 1, 36, 17, 5, 28, 46, 2, 33]
GREEDY = 64
# Greedy continuations of two programs can only agree where the best token leads clearly.
LEAD = 2e-3

COMMON = dict(
    hidden_size=24,
    intermediate_size=36,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    initializer_range=0.25,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=None,
)

CONFIGS = {
    # A Llama 3.x: its frequencies are stretched, the ramp lies within the head's dimensions.
    "llama3": LlamaConfig(
        **COMMON,
        vocab_size=52,
        num_hidden_layers=2,
        head_dim=16,
        tie_word_embeddings=True,
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=500.0,
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    ),
    "llama_biased": LlamaConfig(
        **COMMON,
        vocab_size=52,
        num_hidden_layers=2,
        head_dim=8,
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=False,
        rope_parameters=dict(rope_type="linear", rope_theta=100.0, factor=3.0),
    ),
    "qwen2": Qwen2Config(
        **(COMMON | dict(hidden_size=32)),
        vocab_size=53,
        num_hidden_layers=3,
        use_sliding_window=True,
        sliding_window=6,
        max_window_layers=1,
        tie_word_embeddings=False,
        rope_parameters=dict(
            rope_type="yarn",
            rope_theta=200.0,
            factor=4.0,
            original_max_position_embeddings=32,
        ),
    ),
    "qwen3": Qwen3Config(
        **COMMON,
        vocab_size=52,
        num_hidden_layers=2,
        head_dim=16,
        tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=1000.0),
    ),
    "gemma3_text": Gemma3TextConfig(
        **COMMON,
        vocab_size=52,
        num_hidden_layers=4,
        head_dim=8,
        query_pre_attn_scalar=20,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention"] * 2,
        final_logit_softcapping=6.0,
        rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=50.0),
            full_attention=dict(rope_type="linear", rope_theta=1000.0, factor=2.0),
        ),
    ),
    "gpt2": GPT2Config(
        vocab_size=53,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        initializer_range=0.25,
        bos_token_id=None,
        eos_token_id=None,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    ),
}


def build(config, seed: int):
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norms are created as the identity and biases as zero, which would hide mistakes.
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def load(directory: Path):
    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    return model.double().eval()


@torch.no_grad()
def continuation(model) -> tuple[list[int], float]:
    ids, lead = list(IDS), float("inf")
    for _ in range(GREEDY):
        top = model(torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        lead = min(lead, (top.values[0] - top.values[1]).item())
        ids.append(top.indices[0].item())
    return ids[len(IDS):], lead


def write(name: str, config) -> None:
    directory = ROOT / name
    for seed in range(1000):
        shutil.rmtree(directory, ignore_errors=True)
        build(config, seed).save_pretrained(directory)
        model = load(directory)
        greedy, lead = continuation(model)
        # A loop of a few tokens proves little.
        if lead > LEAD and len(set(greedy)) > 12:
            break
    (directory / "generation_config.json").unlink(missing_ok=True)
    logits = model(torch.tensor([IDS]), use_cache=False).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(IDS[1:]))
    loss.backward()
    expected = {f"gradients.{n}": p.grad for n, p in model.named_parameters()}
    expected["logits"] = logits.detach()
    expected = {n: t.float().contiguous() for n, t in expected.items()}
    save_file(expected, directory / "expected.safetensors")
    values = dict(ids=IDS, loss=loss.item(), greedy=greedy, lead=lead)
    (directory / "expected.json").write_text(json.dumps(values) + "\n")
    print(f"{name}: seed {seed}, loss {loss.item():.4f}, lead {lead:.4f}, {len(set(greedy))} tokens")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, config in CONFIGS.items():
        write(name, config)
