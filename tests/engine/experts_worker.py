"""Trains a tiny mixture of experts with the callback that counts its routers' choices, and counts them again.

Runs in Axolotl's environment with runner/jobs on PYTHONPATH, in a folder of its own: `experts_worker.py`. Prints JSON:
`shares` by the callback and by hand, and the loss of an evaluation beside the text's own.
"""

import json
from typing import Any

import torch
from experts import Experts, file
from meter import Meter, MetricsCallback
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments

EXPERTS, CHOSEN, STEPS = 4, 2, 3


def build() -> Any:
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "qwen3_moe", hidden_size=32, intermediate_size=64, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, vocab_size=64, max_position_embeddings=64,
        num_experts=EXPERTS, num_experts_per_tok=CHOSEN, norm_topk_prob=True, output_router_logits=True,
        router_aux_loss_coef=5.0,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


def recount(model: Any, batches: list[Any]) -> list[list[float]]:
    """What each layer's routers choose of the same tokens, by their logits."""
    counts = torch.zeros(2, EXPERTS)
    with torch.no_grad():
        for ids in batches:
            for layer, logits in enumerate(model(ids, output_router_logits=True).router_logits):
                chosen = logits.topk(CHOSEN, dim=-1).indices.flatten()
                counts[layer] += torch.bincount(chosen, minlength=EXPERTS)
    return (counts / counts.sum(-1, keepdim=True)).tolist()


def main() -> None:
    model = build()
    rows = [{"input_ids": row, "labels": row} for row in torch.randint(0, 64, (STEPS * 4, 32))]
    args = TrainingArguments(
        "output", use_cpu=True, per_device_train_batch_size=4, per_device_eval_batch_size=4, max_steps=STEPS,
        learning_rate=0.0, logging_steps=STEPS, report_to="none", disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=rows, eval_dataset=rows)
    experts = Experts(MetricsCallback(Meter()))
    experts.watch(trainer)
    trainer.add_callback(experts)
    trainer.train()  # with a learning rate of 0, so that the routers stay as they are
    measured = [json.loads(line) for line in file().read_text().splitlines()]
    model.eval()
    batches = [torch.stack([row["input_ids"] for row in rows[i : i + 4]]) for i in range(0, len(rows), 4)]
    with torch.no_grad():
        losses = [float(model(ids, labels=ids, output_router_logits=False).loss) for ids in batches]
    found = {
        "measured": measured,
        "again": recount(model, batches),
        "eval_loss": trainer.evaluate()["eval_loss"],
        "text_loss": sum(losses) / len(losses),
        "still_on": model.config.output_router_logits,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
