"""Rules about who can reach an endpoint, and with what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from runner.diagnostics import Diagnostic
from runner.facts.servers import HOST
from runner.recipe.rules import Facts, rule

_SECRET_FLAG = re.compile(r"(--)?(api|auth|admin|secret|hf)[-_]?(api[-_]?)?(key|token)s?")


@rule(
    "R512",
    "a key in the recipe",
    source="https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html",
)
def key_literal(facts: Facts) -> Iterator[Diagnostic]:
    """A key among a server's flags would stand in the recipe, in the rendered files, and in every list of processes.
    The runner hands the key on by the environment. The line is not shown here, so that no log leaks it once more.
    """
    for flag, value in dict(facts.get("engine_args") or {}).items():
        if _SECRET_FLAG.fullmatch(str(flag).lower()) and value not in (None, "", False):
            at = f"engine_args.{flag}"
            found = facts.report(
                "R512",
                at,
                f"`{at}` holds a key",
                help="remove it, and set RUNNER_API_KEY or name a file of mode 600 in `api_key_file`",
            )
            yield replace(found, span=replace(found.span, line=0, column=0, width=1))


@rule("R513", "not a host", source="https://www.rfc-editor.org/rfc/rfc1123#section-2.1")
def host(facts: Facts) -> Iterator[Diagnostic]:
    """`host` is an address or a name to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for all that can reach it.
    It goes into the proxy's configuration, where a line break would begin a directive.
    """
    given = facts.get("host")
    if isinstance(given, str) and not HOST.fullmatch(given.strip("[]")):
        yield facts.report(
            "R513", "host", "`host` is neither an address nor a name", help="use 127.0.0.1, or 0.0.0.0 for everybody"
        )
