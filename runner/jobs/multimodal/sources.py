"""A dataset of the recipe -> conversations in one form: content in parts, each picture with its file.

Local files are JSON or JSON lines: rows of `messages` whose content is text or parts, or LLaVA's own `conversations` of
`from` and `value` with `image` beside them. Refuses what has no picture where its text asks for one, and files that are
not there.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import pictures
from .problem import Problem

Message = dict[str, Any]
MARK = "<image>"
ROLES = {"human": "user", "gpt": "assistant"}
ROWS = 1000


def is_made_here(item: dict[str, Any]) -> bool:
    """Whether rows are written anew: those that are drawn, and those of local files. The hub's go to Axolotl as they
    are, with the pictures in them."""
    return "generate" in item or Path(item["path"]).suffix in (".json", ".jsonl")


def conversations(item: dict[str, Any], folder: Path) -> Iterator[tuple[str, list[Message]]]:
    """`(where, messages)` of every row of a dataset that is made here."""
    if "generate" in item:
        name, seed = item["generate"], int(item.get("seed", 0))
        made = pictures.conversations(name, int(item.get("rows", ROWS)), seed, folder / f"{name}-{seed}")
        yield from ((f"{name} {number}", messages) for number, messages in enumerate(made, 1))
        return
    file = Path(item["path"])
    root = Path(item.get("images", file.parent))
    for where, row in _rows(file):
        yield where, _messages(row, item, root, where)


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not file.is_file():
        raise Problem(f"{file}: no such file")
    if file.suffix == ".json":
        try:
            listed = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise Problem(f"{file}: not JSON: {error}") from None
        if not isinstance(listed, list):
            raise Problem(f"{file}: not a list of rows")
        yield from ((f"{file.name}, row {number}", _row(row, file, number)) for number, row in enumerate(listed, 1))
        return
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                raise Problem(f"{file}:{number}: not a line of JSON") from None
            yield f"{file.name}:{number}", _row(row, file, number)


def _row(row: Any, file: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Problem(f"{file}:{number}: not a row of columns")
    return row


def _messages(row: dict[str, Any], item: dict[str, Any], root: Path, where: str) -> list[Message]:
    field = item.get("field_messages", "messages")
    given = row.get(field, row.get("conversations"))
    if not isinstance(given, list) or not given:
        raise Problem(f"{where}: no `{field}` and no `conversations`; its columns are {', '.join(row)}")
    beside = row.get("images", row.get("image")) or []
    waiting = [beside] if isinstance(beside, str) else list(beside)
    made = [_message(message, waiting, where) for message in given]
    if waiting:
        raise Problem(f"{where}: {len(waiting)} pictures of the row have no `{MARK}` in its text")
    for part in (p for message in made for p in message["content"] if p["type"] == "image"):
        file = root / part["path"]
        if not file.is_file():
            raise Problem(f"{where}: no picture {file}; say where they lie with the dataset's `images`")
        part["path"] = str(file.resolve())
    if made[-1]["role"] != "assistant":
        raise Problem(f"{where}: the last message is not the assistant's, so there is nothing to learn")
    return made


def _message(message: Message, waiting: list[str], where: str) -> Message:
    """`waiting` are the row's pictures that no text has asked for yet."""
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    if isinstance(content, str):
        asked = [{"type": "image"}] * content.count(MARK)
        content = [*asked, {"type": "text", "text": content.replace(MARK, "").strip()}]
    if not isinstance(role, str) or not isinstance(content, list):
        raise Problem(f"{where}: a message is neither `role` and `content` nor `from` and `value`")
    parts = []
    for part in content:
        if part.get("type") == "image":
            path = part.get("path") or (waiting.pop(0) if waiting else None)
            if not isinstance(path, str):
                raise Problem(f"{where}: its text asks for more pictures than the row has")
            parts.append({"type": "image", "path": path})
        else:
            parts.append({"type": "text", "text": str(part.get("text") or "")})
    return {"role": ROLES.get(role, role), "content": parts}
