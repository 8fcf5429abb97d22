"""Loads what Mentor exports in Transformers and PEFT, and compares the logits. Run from the
repository root:

    pip install torch transformers peft safetensors numpy
    deno run -A tests/write_exports.ts exports
    python tests/golden/check_export.py exports

Checks every folder below the one named that has expected.json (ids) and expected.safetensors (the
logits [T,V] that Mentor computed for them), beside

    config.json, model.safetensors                   a model, adapters merged into it or not; or
    adapter_config.json, adapter_model.safetensors   adapters; their base_model_name_or_path is a
                                                     folder, relative to theirs

Every tensor of a file must be one that the model has, and the other way round. Errors are relative to
the largest logit; the arithmetic here is float64. Fails where one exceeds 1e-4.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-4


def load_model(directory: Path):
    # Not in the file's type: Gemma would round what it scales embeddings by to bfloat16 as well.
    model, report = AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    # Transformers only warns, and fills in random numbers.
    problems = {kind: found for kind, found in report.items() if found}
    assert not problems, f"{directory}: {problems}"
    return model


def load_adapters(directory: Path):
    base = json.loads((directory / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = PeftModel.from_pretrained(load_model((directory / base).resolve()), directory)
    names = get_peft_model_state_dict(model, save_embedding_layers=False).keys()
    stored = load_file(directory / "adapter_model.safetensors").keys()
    assert names == stored, f"{directory}: {sorted(names ^ stored)}"
    return model


@torch.no_grad()
def error(directory: Path) -> float:
    is_adapter = (directory / "adapter_config.json").exists()
    model = (load_adapters if is_adapter else load_model)(directory).double().eval()
    ids = json.loads((directory / "expected.json").read_text())["ids"]
    actual = model(torch.tensor([ids]), use_cache=False).logits[0]
    expected = load_file(directory / "expected.safetensors")["logits"].double()
    assert actual.shape == expected.shape, f"{directory}: {actual.shape}, not {expected.shape}"
    return ((actual - expected).abs().max() / actual.abs().max()).item()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("Cannot check exports: name the folder that they are in; see the top of this file")
    torch.set_num_threads(1)
    warnings.filterwarnings("error", message=".*missing adapter keys.*")
    root = Path(sys.argv[1])
    directories = sorted(path.parent for path in root.rglob("expected.json"))
    if not directories:
        sys.exit(f"Cannot check exports: there is no expected.json below {root}")
    errors = {str(path.relative_to(root)): error(path) for path in directories}
    for name, value in errors.items():
        print(f"{name:40} {value:.1e}")
    worst = max(errors, key=errors.get)
    print(f"{len(errors)} exports, worst relative error {errors[worst]:.1e} ({worst})")
    if not errors[worst] <= TOLERANCE:
        sys.exit(f"Exports do not compute what Mentor does: the largest error allowed is {TOLERANCE}")


if __name__ == "__main__":
    main()
