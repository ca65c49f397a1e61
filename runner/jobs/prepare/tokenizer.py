"""The tokenizer that comes with the dataset: an existing one, or a byte-level BPE trained on the training documents."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson

from .problem import Problem
from .sources import hub_problem

FOLDER = Path("output/tokenizer")
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
ROLES = ("unk_token", "bos_token", "eos_token", "pad_token")
# of a tokenizer that has the tokens for it: the turns of a conversation, as ChatML writes them
CHATML = ("<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def make(config: dict[str, Any], documents: Path, tasks: int) -> None:
    """Leaves FOLDER whole or not at all. Raises Problem."""
    if FOLDER.is_dir():
        return
    draft = FOLDER.with_name(".tokenizer")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    if config["tokenizer"]:
        _fetch(config["tokenizer"], draft)
    else:
        _train(config, documents, tasks, draft)
    eos, _ = eos_of(draft, config["eos_token"])
    if config["tokenizer"]:
        _complete(draft, eos)
    draft.rename(FOLDER)


def _complete(folder: Path, eos: str) -> None:
    """Roles that an existing tokenizer leaves open go to its end token, as GPT-2's do in transformers' own classes;
    without its model's config.json nothing else would tell which class it is."""
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text()) if file.is_file() else {}
    roles = dict.fromkeys(ROLES, eos) | special_tokens(folder) | {"eos_token": eos}
    kept = {k: v for k, v in settings.items() if k not in ("auto_map", "added_tokens_decoder")}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **kept, **roles}
    for name, value in ((file.name, settings), ("special_tokens_map.json", roles)):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n")


def eos_of(folder: Path, wanted: str | None) -> tuple[str, int]:
    """The end token and its id. Raises Problem where the tokenizer has none, or not the one that is wanted."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    named = wanted or special_tokens(folder).get("eos_token")
    number = tokenizer.token_to_id(named) if named else None
    if number is None:
        what = f"no token `{named}`" if named else "no end token"
        raise Problem(f"the tokenizer has {what} to put after each document", "set `eos_token` to a token that it has")
    return named, number


def special_tokens(folder: Path) -> dict[str, str]:
    """Role -> token, from the tokenizer's own files; transformers writes a token as text or as a mapping."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        file = folder / name
        given = json.loads(file.read_text()) if file.is_file() else {}
        for role in ROLES:
            token = given.get(role)
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str):
                found.setdefault(role, token)
    return found


def _fetch(name: str, folder: Path) -> None:
    if name.startswith("/"):
        for file in FILES:
            if (Path(name) / file).is_file():
                shutil.copyfile(Path(name) / file, folder / file)
    else:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        for file in FILES:
            try:
                shutil.copyfile(hf_hub_download(name, file), folder / file)
            except LocalEntryNotFoundError as error:
                if file == FILES[0]:
                    raise hub_problem(error, name, {}) from error
            except EntryNotFoundError:
                continue
            except Exception as error:
                problem = hub_problem(error, name, {})
                if problem is None:
                    raise
                raise problem from error
    if not (folder / FILES[0]).is_file():
        raise Problem(
            f"{name}: no tokenizer.json, which the `tokenizers` library reads",
            "name another tokenizer, or train one with `vocab_size` (260 gives one token for each byte)",
        )


def _train(config: dict[str, Any], documents: Path, tasks: int, folder: Path) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    wanted, specials = config["vocab_size"], config["special_tokens"]
    trainer = trainers.BpeTrainer(
        vocab_size=wanted,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(documents, tasks, config["tokenizer_sample_mib"] * 2**20), trainer)
    got = tokenizer.get_vocab_size()
    if got < wanted:
        raise Problem(
            f"a vocabulary of {wanted:,} is too large for this text: it has {got:,} different tokens in all",
            f"set `vocab_size: {got}` or less, or prepare more text",
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = dict(zip(ROLES, specials, strict=False))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": int(1e30),
        "clean_up_tokenization_spaces": False,
        **roles,
    }
    if set(CHATML) <= set(specials):
        settings["chat_template"] = CHAT_TEMPLATE
    for name, value in (("tokenizer_config.json", settings), ("special_tokens_map.json", roles)):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n")


def _texts(documents: Path, tasks: int, most: int) -> Iterator[str]:
    """Documents from every task's file in turn, until there are `most` bytes, so that no source is left out."""
    with ExitStack() as stack:
        files = [documents / f"{rank:05d}.jsonl" for rank in range(tasks)]
        streams = [stack.enter_context(f.open("rb")) for f in files if f.is_file()]
        while streams and most > 0:
            for stream in list(streams):
                line = stream.readline()
                if not line:
                    streams.remove(stream)
                    continue
                text = orjson.loads(line)["text"]
                most -= len(text)
                yield text
                if most <= 0:
                    return
