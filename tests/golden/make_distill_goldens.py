"""Writes the TRL goldens of distillation and DPO that tests/ compare with. Run from the repository
root:

    pip install torch trl==1.16 transformers peft
    python tests/golden/make_distill_goldens.py

    rl/divergence.json   student and teacher logits [N,V], a mask [N] and a temperature; for each beta
                         the loss of TRL's GKDTrainer.generalized_jsd_loss, a mean over unmasked rows,
                         its derivative by the student's logits, and the divergence of every row
    rl/capped.json       hidden states and vocabulary tables with soft caps; for each beta the loss of
                         TRL's DistillationTrainer and its derivatives by hidden states and table
    rl/dpo.json          log-probabilities of the tokens of pairs [P,2,T], masks and reference sums; for
                         each label smoothing the loss of TRL's DPOTrainer (its `sigmoid`, or `aot` of
                         one pair at a time, which is `sigmoid` with smoothing), its derivative by every
                         log-probability, and the rewards that it logs

Inputs are float32 values, the arithmetic is float64.
"""

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
from trl import DPOTrainer
from trl.experimental.gkd import GKDTrainer
from trl.trainer.distillation_trainer import _chunked_divergence_loss

ROOT = Path(__file__).parent / "rl"
BETAS = [0.0, 0.1, 0.5, 1.0]


def draw(generator, *shape, scale=1.0):
    # Few digits: whatever reads them starts from the same float32.
    values = scale * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return (values * 1024).round() / 1024


def divergence() -> dict:
    generator = torch.Generator().manual_seed(7)
    N, V, temperature = 7, 12, 0.9
    student, teacher = (draw(generator, N, V, scale=3) for _ in range(2))
    teacher[1] = student[1]  # nothing to learn here
    student[2, 0], teacher[2, 5] = 60, 60  # each is sure of something else
    student[3, 4] = teacher[3, 4] = 60  # both are sure of the same
    mask = torch.tensor([1, 1, 1, 1, 0, 1, 1])
    labels = torch.where(mask == 1, 0, -100)
    cases = []
    for beta in BETAS:
        logits = student.clone().requires_grad_()
        loss = GKDTrainer.generalized_jsd_loss(
            logits[None], teacher[None], labels[None], beta=beta, temperature=temperature)
        loss.backward()
        rows = GKDTrainer.generalized_jsd_loss(
            student[None], teacher[None], None, beta=beta, temperature=temperature, reduction="none")
        cases.append({
            "beta": beta,
            "loss": loss.item(),
            "rows": rows[0].sum(-1).tolist(),
            "dlogits": logits.grad.tolist(),
        })
    return {"temperature": temperature, "student": student.tolist(), "teacher": teacher.tolist(),
            "mask": mask.tolist(), "cases": cases}


def capped() -> dict:
    generator = torch.Generator().manual_seed(8)
    N, C, D, V = 5, 4, 8, 20
    x, w = draw(generator, N, C, scale=2), draw(generator, V, C)
    teacher_x, teacher_w = draw(generator, N, D, scale=2), draw(generator, V, D)
    cap, teacher_cap, temperature = 5.0, 7.0, 1.3
    cases = []
    for beta in BETAS:
        hidden, table = x.clone().requires_grad_(), w.clone().requires_grad_()
        loss, entropy, _ = _chunked_divergence_loss(
            hidden[None], teacher_x[None], table, teacher_w, torch.ones(1, N), beta,
            student_final_logit_softcapping=cap, teacher_final_logit_softcapping=teacher_cap,
            temperature=temperature)
        loss.backward()
        cases.append({
            "beta": beta,
            "loss": loss.item(),
            "entropy": entropy.item() / N,
            "dx": hidden.grad.tolist(),
            "dW": table.grad.tolist(),
        })
    return {"temperature": temperature, "cap": cap, "teacherCap": teacher_cap, "x": x.tolist(),
            "w": w.tolist(), "teacherX": teacher_x.tolist(), "teacherW": teacher_w.tolist(),
            "cases": cases}


def dpo_loss(logprobs, mask, references, beta, smoothing):
    """DPOTrainer._compute_loss on pairs, with a model that gives these log-probabilities."""
    P, _, T = logprobs.shape
    # Its batch is all chosen sequences, then all rejected ones.
    flat = logprobs.transpose(0, 1).reshape(2 * P, T)
    completion = mask.transpose(0, 1).reshape(2 * P, T)
    completion = torch.cat([torch.zeros(2 * P, 1, dtype=completion.dtype), completion], dim=1)
    zeros = torch.zeros(2 * P, T, dtype=torch.float64)
    outputs = SimpleNamespace(log_probs=flat, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=SimpleNamespace(
            device="cpu", gather_for_metrics=lambda x: x, gather=lambda x: x),
        aux_loss_enabled=False, ld_alpha=None, precompute_ref_logps=True,
        f_divergence_type="reverse_kl", use_weighting=False, beta=beta, label_smoothing=smoothing,
        loss_types=["sigmoid" if smoothing == 0 else "aot"], loss_weights=[1.0],
        _metrics={"eval": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
    )
    inputs = {
        "input_ids": torch.zeros(2 * P, T + 1, dtype=torch.long),
        "attention_mask": torch.ones(2 * P, T + 1),
        "completion_mask": completion,
        "ref_chosen_logps": references[:, 0],
        "ref_rejected_logps": references[:, 1],
    }
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)
    return loss, {name: values[0] for name, values in trainer._metrics["eval"].items()}


def dpo() -> dict:
    generator = torch.Generator().manual_seed(9)
    P, T, beta = 5, 6, 0.3
    logprobs = -draw(generator, P, 2, T).abs()
    lengths = torch.tensor([[6, 4], [1, 6], [3, 3], [5, 1], [2, 6]])
    mask = (torch.arange(T)[None, None] < lengths[..., None]).long()
    # A model's output is 0 off the labels.
    logprobs = logprobs * mask
    references = logprobs.sum(-1) + draw(generator, P, 2, scale=3)
    cases = []
    for smoothing in [0.0, 0.1]:
        leaf = logprobs.clone().requires_grad_()
        if smoothing == 0:
            loss, logged = dpo_loss(leaf, mask, references, beta, smoothing)
        else:
            pairs = [dpo_loss(leaf[[i]], mask[[i]], references[[i]], beta, smoothing)
                     for i in range(P)]
            loss = torch.stack([one for one, _ in pairs]).mean()
            logged = {k: sum(m[k] for _, m in pairs) / P for k in pairs[0][1]}
        loss.backward()
        cases.append({
            "labelSmoothing": smoothing,
            "loss": loss.item(),
            "rewardChosen": logged["rewards/chosen"],
            "rewardRejected": logged["rewards/rejected"],
            "margin": logged["rewards/margins"],
            "accuracy": logged["rewards/accuracies"],
            "dlogprob": leaf.grad.tolist(),
        })
    return {"beta": beta, "logprobs": logprobs.tolist(), "lengths": lengths.tolist(),
            "references": references.tolist(), "cases": cases}


if __name__ == "__main__":
    torch.set_num_threads(1)
    ROOT.mkdir(exist_ok=True)
    for name, golden in [("divergence", divergence()), ("capped", capped()), ("dpo", dpo())]:
        (ROOT / f"{name}.json").write_text(json.dumps(golden) + "\n")
