"""Text -> the same text, as long as before, with every secret in it masked: in diagnostics, logs and records."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# what a token of a known maker looks like
LOOKS_LIKE_ONE = (
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{20,}|nvapi-[\w-]{30,}|gsk_[A-Za-z0-9]{30,}"
    r"|wandb_v1_\w{30,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
)
# the password in an address
_ADDRESS = r"(?<=://)[^\s/:@'\"]{1,128}:[^\s/@'\"]{1,256}(?=@)"
# what stands behind the name of a secret, as in `api_key: hunter2` and `{"password": "x"}`
_NAMED = r"(?i:(?:api_?key|hf_token|auth_token|access_token|password|passwd|secret|secret_key)[\"']?\s*[:=]\s*)"
_PATTERNS = tuple(re.compile(p) for p in (LOOKS_LIKE_ONE, _ADDRESS, f"{_NAMED}(?P<value>[^\\s,}}]+)"))
_LOG_PATTERNS = tuple(re.compile(p.encode()) for p in (LOOKS_LIKE_ONE, _ADDRESS))
# variables whose values are secrets, by their names; short values are words such as `none`
_SECRET_NAME = re.compile(r"(?:^|_)(?:TOKEN|API_?KEY|KEY|SECRET|PASSWORD|PASSWD|PGPASSWORD|CREDENTIALS)(?:_ID)?$")
LEAST = 8
LOGS = (".txt", ".log", ".jsonl")


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Values that the environment holds as secrets, longest first; not the paths of files that hold some."""
    found = {v for name, v in environment.items() if _SECRET_NAME.search(name) and len(v) >= LEAST}
    return sorted((v for v in found if not os.path.exists(v)), key=len, reverse=True)  # noqa: PTH110 - odd names


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """What a person or a record is shown. Masked character by character, so that a caret still points well."""
    for secret in secrets_of(environment):
        text = text.replace(secret, "*" * len(secret))
    for pattern in _PATTERNS:
        text = pattern.sub(_mask, text)
    return text


def _mask(found: re.Match[str]) -> str:
    value = found.groupdict().get("value") or found[0]
    return found[0].removesuffix(value) + "*" * len(value)


class LogMask:
    """Masks secrets in a log in place while others append to it: whole lines only, since the rest may still come."""

    def __init__(self, file: Path, environment: Mapping[str, str], start: int = 0) -> None:
        self.file, self.at = file, start
        self._secrets = [secret.encode("utf-8", "surrogateescape") for secret in secrets_of(environment)]

    def look(self, *, to_the_end: bool = False) -> None:
        with self.file.open("r+b") as log:
            log.seek(self.at)
            block = log.read()
            whole = len(block) if to_the_end else block.rfind(b"\n") + 1
            for start, end in self._found(block[:whole]):
                log.seek(self.at + start)
                log.write(b"*" * (end - start))
        self.at += whole

    def _found(self, block: bytes) -> list[tuple[int, int]]:
        spans = [m.span() for pattern in _LOG_PATTERNS for m in pattern.finditer(block)]
        for secret in self._secrets:
            at = block.find(secret)
            while at >= 0:
                spans.append((at, at + len(secret)))
                at = block.find(secret, at + len(secret))
        return spans


def mask_logs(folder: Path, environment: Mapping[str, str]) -> None:
    """Every log of a run, after its processes have ended."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.suffix in LOGS and file.is_file() and not file.is_symlink():
            LogMask(file, environment).look(to_the_end=True)
