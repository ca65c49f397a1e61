"""Lets a model speak: `sample.py REQUEST.json`. Text goes to stdout as it is made.

The request: `{"model": DIR, "tokenizer": DIR, "prompts": [...], "max_new_tokens": 100, "temperature": 0.8, "top_k": 50,
"top_p": 1.0, "seed": 1, "samples": 1}`. A model directory with adapter_config.json is an adapter, whose base it names.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, TextStreamer, set_seed


def load(folder: Path) -> tuple[Any, str]:
    """The model, and how it speaks: `continues` a text, `answers` one, or `fills` its gaps."""
    if (folder / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM

        return AutoPeftModelForCausalLM.from_pretrained(folder), "continues"
    config = AutoConfig.from_pretrained(folder)
    kinds = " ".join(config.architectures or ())
    if "MaskedLM" in kinds:
        return transformers.AutoModelForMaskedLM.from_pretrained(folder), "fills"
    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM.from_pretrained(folder), "answers"
    if "Classification" in kinds:
        return transformers.AutoModelForSequenceClassification.from_pretrained(folder), "judges"
    return transformers.AutoModelForCausalLM.from_pretrained(folder), "continues"


@torch.inference_mode()
def speak(model: Any, tokenizer: Any, how: str, prompt: str, request: dict[str, Any]) -> None:
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
    if how == "fills":
        fill(model, tokenizer, inputs)
        return
    if how == "judges":
        for label, share in enumerate(model(**inputs).logits[0].softmax(-1).tolist()):
            print(f"{model.config.id2label.get(label, label)}: {share:.3f}")
        return
    if inputs["input_ids"].shape[1] == 0:  # nothing said: begin as a document does
        begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        inputs = {"input_ids": torch.tensor([[begin]], device=model.device)}
    longest = getattr(model.config, "max_position_embeddings", None) or getattr(model.config, "n_positions", None)
    room = longest - inputs["input_ids"].shape[1] if longest and how == "continues" else request["max_new_tokens"]
    if room < 1:
        sys.exit(f"sample: error: the prompt has {inputs['input_ids'].shape[1]} tokens, the model reads {longest}")
    warm = request["temperature"] > 0
    model.generate(
        **inputs,
        max_new_tokens=min(request["max_new_tokens"], room),
        do_sample=warm,
        **(
            {"temperature": request["temperature"], "top_k": request["top_k"], "top_p": request["top_p"]}
            if warm
            else {}
        ),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        streamer=TextStreamer(tokenizer, skip_prompt=how == "answers", skip_special_tokens=True),
    )


def fill(model: Any, tokenizer: Any, inputs: Any) -> None:
    """The five likeliest words for each gap."""
    gaps = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero().flatten().tolist()
    if not gaps:
        sys.exit(f"sample: error: the prompt has no gap to fill: put {tokenizer.mask_token} where a word is missing")
    shares = model(**inputs).logits[0].softmax(-1)
    for number, gap in enumerate(gaps, 1):
        best = shares[gap].topk(5)
        words = [
            f"{tokenizer.decode([i]).strip()} {p:.2f}"
            for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        print(f"gap {number}: {', '.join(words)}")


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model, how = load(Path(request["model"]))
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"])
    for prompt in request["prompts"]:
        for number in range(request["samples"]):
            set_seed(request["seed"] + number)
            speak(model, tokenizer, how, prompt, request)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
