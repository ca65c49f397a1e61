"""A folder that training left -> answers, by transformers: the likeliest token each time."""

from collections.abc import Callable
from typing import Any

from .problem import Problem
from .sources import Message


def from_folder(config: dict[str, Any]) -> Callable[[list[list[Message]]], list[str]]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    where = config["model"]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = AutoProcessor.from_pretrained(config["processor"])
    if not hasattr(processor, "image_processor"):
        raise Problem(f"{config['processor']}: no model that takes pictures")
    processor.tokenizer.padding_side = "left"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForImageTextToText.from_pretrained(config["base"] or where, dtype=dtype)
    if config["base"]:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, where)
    model = model.to(device).eval()
    template = config["chat_template"] or processor.chat_template

    def answer(asked: list[list[Message]]) -> list[str]:
        batch = processor.apply_chat_template(
            asked,
            chat_template=template,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(device, dtype)
        with torch.inference_mode():
            made = model.generate(**batch, max_new_tokens=config["max_new_tokens"], do_sample=False)
        new = made[:, batch["input_ids"].shape[1] :]
        return [text.strip() for text in processor.tokenizer.batch_decode(new, skip_special_tokens=True)]

    return answer
