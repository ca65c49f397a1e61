"""Builds the stand-in for a model in smoke: a tokenizer, the text it was trained on, and a tiny random model; for one
that sees, its processor too.

Runs in an engine's environment as `build_tiny.py SPEC.json`. Nothing is downloaded: the text is the Python standard
library's own source. Each folder is made beside its place and renamed into it, so a killed build leaves nothing half
done and two builds at once are no harm.
"""

import contextlib
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# the same for content in parts: images first, as LLaVA has them, then what is said
PARTS_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] if c['type'] == 'image' %}{{ '<image>\\n' }}{% endfor %}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{% endif %}"
    "{{ '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield work
        with contextlib.suppress(OSError):  # somebody else was first, with the same content
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def sources(count: int) -> list[Path]:
    """The first `count` modules of the standard library, by name: the same on every machine with this Python."""
    return sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:count]


def build_text(folder: Path, count: int) -> None:
    with whole(folder) as work, (work / "stdlib.jsonl").open("w") as out:
        for file in sources(count):
            text = file.read_text(errors="replace")
            for start in range(0, len(text), 2000):
                out.write(json.dumps({"text": text[start : start + 2000]}) + "\n")


def build_model(spec: dict[str, Any]) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedTokenizerFast

    wanted = spec["tokenizer"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=wanted["vocab_size"],
        special_tokens=wanted["special_tokens"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(f) for f in sources(wanted["text_files"])], trainer)
    unk, bos, eos, pad = wanted["special_tokens"][:4]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unk, bos_token=bos, eos_token=eos, pad_token=pad, model_max_length=512
    )
    sees = "vision_config" in spec["config"]
    fast.chat_template = PARTS_TEMPLATE if sees else CHAT_TEMPLATE
    with whole(Path(spec["path"])) as work:
        fast.save_pretrained(work)
        if sees:
            processor(fast, spec["config"]).save_pretrained(work)
        if spec["weights"]:
            torch.manual_seed(0)
            config = dict(spec["config"])
            auto = AutoModelForImageTextToText if sees else AutoModelForCausalLM
            model = auto.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
            model.save_pretrained(work)
            if sees:
                name_as_published(work / "model.safetensors")


def name_as_published(file: Path) -> None:
    """transformers 5 has taken a level out of CLIP's names, and writes it again for a model that was read with it; one
    that is made here has never been read. vLLM knows the names that LLaVA was published under."""
    from safetensors.torch import load_file, save_file

    tower = "vision_tower."
    weights = load_file(file)
    named = {f"{tower}vision_model.{k[len(tower) :]}" if k.startswith(tower) else k: w for k, w in weights.items()}
    save_file(named, file, metadata={"format": "pt"})


def processor(tokenizer: Any, config: dict[str, Any]) -> Any:
    """LLaVA's: CLIP's picture preparation, by PIL (torchvision is built for CUDA), and an image's place in the text."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    side = config["vision_config"]["image_size"]
    pictures = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=config["vision_config"]["patch_size"],
        vision_feature_select_strategy=config.get("vision_feature_select_strategy", "default"),
        num_additional_image_tokens=1,  # CLIP's own class token, which the strategy takes away again
        chat_template=PARTS_TEMPLATE,
    )


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    spec = json.loads(Path(sys.argv[1]).read_text())
    if not Path(spec["text"]).exists():
        build_text(Path(spec["text"]), spec["tokenizer"]["text_files"])
    if not Path(spec["path"]).exists():
        build_model(spec)


if __name__ == "__main__":
    main()
