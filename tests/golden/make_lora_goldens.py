"""Writes the goldens of low-rank adapters. Run from the repository root:

    pip install torch transformers peft safetensors numpy
    python tests/golden/make_lora_goldens.py

For each of lora/<name>/, random adapters on the model families/<name>/:

    adapter_config.json, adapter_model.safetensors   as PEFT's save_pretrained writes them (float32)
    expected.safetensors    logits [25,V] of the family's ids; gradients.<tensor name> of the mean
                            next-token loss, by the names in adapter_model.safetensors; bf16.logits
                            of the same adapters on a base whose matrices were rounded to bfloat16
    expected.json           loss

Arithmetic is float64 but for the places where Transformers and PEFT go through float32.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parent

ADAPTERS = {
    # A rank that is no multiple of 4, and some of the matrices that are stacked in one.
    "qwen3": dict(r=3, lora_alpha=7, target_modules=["q_proj", "v_proj", "down_proj"]),
    "llama3": dict(r=8, lora_alpha=16, target_modules="all-linear", use_rslora=True),
    # Matrices stored as [in, out].
    "gpt2": dict(r=4, lora_alpha=8, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True),
}


def adapted(name: str, rounded: bool = False):
    """The same base and adapters at every call."""
    directory = ROOT / "families" / name
    base = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    if rounded:
        with torch.no_grad():
            for parameter in base.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(parameter.bfloat16())
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **ADAPTERS[name]))
    model.peft_config["default"].base_model_name_or_path = f"families/{name}"
    torch.manual_seed(len(name))
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            # PEFT begins with B = 0, which would hide mistakes.
            if ".lora_" in parameter_name:
                parameter.copy_(0.15 * torch.randn_like(parameter))
    return model.eval()


def write(name: str) -> None:
    directory = ROOT / "lora" / name
    shutil.rmtree(directory, ignore_errors=True)
    ids = json.loads((ROOT / "families" / name / "expected.json").read_text())["ids"]
    model = adapted(name)
    # Without looking for the base on the Hub.
    model.save_pretrained(directory, save_embedding_layers=False)
    settings = json.loads((directory / "adapter_config.json").read_text())
    settings["target_modules"].sort()  # a set in no order
    (directory / "adapter_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (directory / "README.md").unlink(missing_ok=True)
    model.double()
    logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
    loss.backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    gradients = get_peft_model_state_dict(
        model, {n: p.grad for n, p in trained.items()}, save_embedding_layers=False
    )
    assert len(gradients) == len(trained)
    expected = {f"gradients.{n}": gradient for n, gradient in gradients.items()}
    expected["logits"] = logits.detach()
    with torch.no_grad():
        narrow = adapted(name, rounded=True).double()
        expected["bf16.logits"] = narrow(torch.tensor([ids]), use_cache=False).logits[0]
    expected = {n: t.float().contiguous() for n, t in expected.items()}
    save_file(expected, directory / "expected.safetensors")
    (directory / "expected.json").write_text(json.dumps(dict(loss=loss.item())) + "\n")
    print(f"{name}: loss {loss.item():.4f}, {len(trained)} matrices")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ADAPTERS:
        write(name)
