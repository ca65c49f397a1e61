"""Settings -> a trained model in `output_dir`, with its score: what every objective has in common."""

import json
import shutil
from pathlib import Path
from typing import Any

from cpu_ranks import load_on_numbered_cpus
from experts import Experts
from meter import Meter, MetricsCallback
from transformers.trainer_callback import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint, set_seed
from transformers.training_args import TrainingArguments

from . import objectives
from .interrupts import Interrupts
from .lean import LeanTrainer
from .parameters import counts
from .settings import Settings

STATE = "trainer_state.json"
# what a tokenizer may consist of
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip


def run(settings: Settings, *more: TrainerCallback) -> int:
    """The exit code: 0, or that of the signal after which it saved and ended. `more` callbacks may look on."""
    args = TrainingArguments(**settings.arguments)
    output = Path(args.output_dir)
    if finished(output):
        print(f"trainer: {output} is trained already")
        return 0
    set_seed(args.seed)
    load_on_numbered_cpus()
    task = objectives.load(settings, args)
    if not hasattr(task.train, "seq_len"):
        args.include_num_input_tokens_seen = "all"  # rows of all lengths, to be counted
    trainer = LeanTrainer(
        model=task.model,
        args=args,
        data_collator=task.collate,
        train_dataset=task.train,
        eval_dataset=task.evaluation,
        compute_metrics=task.compute_metrics,
        preprocess_logits_for_metrics=task.preprocess_logits,
    )
    meter = Meter(part=settings.part)
    meter.watch(trainer)
    report, interrupts = MetricsCallback(meter), Interrupts()
    experts = Experts(report)
    experts.watch(trainer)
    trainer.callback_handler.callbacks[:] = [
        c for c in trainer.callback_handler.callbacks if type(c).__name__ != "PrinterCallback"
    ]
    for callback in (meter, report, experts, interrupts, *more):
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(output) if output.is_dir() else None)
    if interrupts.asked:
        return 128 + interrupts.asked
    trainer.save_model()
    if args.should_save:
        if task.tokenizer is not None:
            task.tokenizer.save_pretrained(output)
        else:
            copy_tokenizer(settings.own.get("tokenizer_config"), output)
    found: dict[str, Any] = trainer.evaluate() if task.evaluation is not None else {}
    found |= {"tokens": seen(trainer), **counts(trainer.model)}
    if task.score is not None:
        found |= task.score(trainer)
    report.write(trainer.state, {k: v for k, v in found.items() if isinstance(v, (int, float))})
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}))
    trainer.save_state()  # last: it says that all of this is done
    return 0


def finished(output: Path) -> bool:
    """A stage that has come to its end leaves the trainer's state beside its model."""
    return (output / STATE).is_file()


def seen(trainer: Any) -> int:
    """Token positions of the inputs that training went through, on all ranks, interrupted parts included. Of blocks,
    which are all of one length, it is known without counting."""
    args, length = trainer.args, getattr(trainer.train_dataset, "seq_len", None)
    if length is None:
        return int(trainer.state.num_input_tokens_seen)
    batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return int(trainer.state.global_step * batch * length)


def copy_tokenizer(source: str | None, output: Path) -> None:
    """The model's tokenizer beside it. One from the hub is loaded and saved, a local one is copied."""
    if source is None:
        return
    if not Path(source).is_dir():
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(source).save_pretrained(output)
        return
    for name in TOKENIZER_FILES:
        if (Path(source) / name).is_file():
            shutil.copyfile(Path(source) / name, output / name)
