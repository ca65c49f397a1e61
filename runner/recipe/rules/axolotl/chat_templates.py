"""Rules about the chat template that conversations are written with: that it is there, and its ends are learned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.facts.read import read_facts
from runner.facts.tokenizer import Tokenizer, find_tokenizer
from runner.project import shipped
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

_BASE = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/chat_templates/base.py"
_STRATEGY = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/prompt_strategies/chat_template.py"
_DEFAULT, _FALLBACK, _JINJA = "tokenizer_default", "tokenizer_default_fallback_", "jinja"
_MOST_CHARACTERS = 200_000
# tokens by their looks, and those that are named for what they end
_TOKEN = re.compile(r"<[^<>\s'\"]{1,40}>|\[\|[^\[\]\s'\"]{1,40}\|\]")
_ENDING = re.compile(r"end|eo[stm]|/s>|turn\|>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Template:
    """A template that a dataset is written with: where it is chosen, and its `text`; of Axolotl's own what stands
    behind an answer, as data/chat_templates.yaml has it."""

    at: str
    name: str
    text: str | None = None
    ends: tuple[str, ...] = ()
    eos: bool = False

    def ends_with(self, token: str, eos: str | None) -> bool:
        """As Axolotl looks: the token in the text, or the variable `eos_token` where it is that."""
        if self.text is None:
            return token in self.ends or (self.eos and token == eos)
        return token in self.text or (token == eos and "eos_token" in self.text)


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    return read_facts(shipped("data") / "chat_templates.yaml")


def tokenizer_of(facts: Facts) -> Tokenizer | None:
    name = facts.get("tokenizer_config") or facts.get("base_model")
    if not isinstance(name, str) or "tokenizer_config" in facts.refused or "base_model" in facts.refused:
        return None
    return find_tokenizer(name, facts.root)


def _written(facts: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Datasets whose rows are written with a chat template."""
    for name in ("datasets", "test_datasets"):
        for at, node in facts.all(f"{name}.*"):
            entry = node.plain()
            kind = entry.get("type") if isinstance(entry, dict) else None
            if isinstance(kind, str) and "chat_template" in kind.split("."):
                yield at, entry


def _choice(facts: Facts, at: str, entry: dict[str, Any]) -> tuple[str, str, str | None]:
    """Where the template is chosen, which it is, and what `chat_template_jinja` says beside."""
    if entry.get("chat_template"):
        return f"{at}.chat_template", str(entry["chat_template"]), entry.get("chat_template_jinja")
    if facts.has("chat_template"):
        return "chat_template", str(facts.get("chat_template")), facts.get("chat_template_jinja")
    return f"{at}.type", _DEFAULT, None


def _template(facts: Facts, at: str, entry: dict[str, Any]) -> Template | None:
    """None where it can't be known here, or is missing."""
    where, name, jinja = _choice(facts, at, entry)
    if name == _JINJA and jinja:
        return Template(where, name, _own(facts, str(jinja)))
    if name == _DEFAULT or name.startswith(_FALLBACK):
        tokenizer = tokenizer_of(facts)
        if tokenizer is None:
            return None
        if tokenizer.template:
            return Template(where, name, tokenizer.template)
        name = name.removeprefix(_FALLBACK)
    known = _shipped().get(name)
    return Template(where, name, None, tuple(known["ends"]), known["eos"]) if known else None


def _own(facts: Facts, jinja: str) -> str:
    """The text, or the file that it names."""
    try:
        file = (facts.root or Path.cwd()) / jinja
        if len(jinja) < 1024 and "{" not in jinja and file.is_file():
            with file.open(encoding="utf-8", errors="replace") as stream:
                return stream.read(_MOST_CHARACTERS)
    except (OSError, ValueError):
        pass
    return jinja


@rule("R854", "no chat template", source=_BASE)
def missing(facts: Facts) -> Iterator[Diagnostic]:
    """Conversations are written as text by a chat template. Where the recipe names none it is the tokenizer's own, and
    base models have none: Axolotl ends with "tokenizer's chat_template is null" once the tokenizer is loaded.
    """
    for at, entry in _written(facts):
        where, name, _ = _choice(facts, at, entry)
        tokenizer = tokenizer_of(facts)
        if name != _DEFAULT or tokenizer is None or tokenizer.template:
            continue
        shown = printable(Path(tokenizer.name).name if tokenizer.name.startswith("/") else tokenizer.name, 60)
        yield facts.report(
            "R854",
            where,
            f"the tokenizer of `{shown}` has no chat template",
            label="it is to write the conversations" if where.endswith("chat_template") else "this needs one",
            help="set `chat_template: chatml`, or the one that the model knows; "
            "`tokenizer_default_fallback_chatml` takes the tokenizer's where it has one",
        )


@rule("R855", "a turn whose end is not learned", source=_STRATEGY)
def ends_learned(facts: Facts) -> Iterator[Diagnostic]:
    """A model stops because it has learned the token that ends an answer. Axolotl learns the tokenizer's end token
    there, and those of `eot_tokens`; where the template ends its turns with another one, such as ChatML's `<|im_end|>`
    for a tokenizer whose end token is `</s>`, that is masked, the run goes through, and the model never stops. Axolotl
    says so in one line of its log. `train_on_eos: none` asks for the same.
    """
    if facts.has("rl") or facts.has("reward_model") or facts.has("train_on_inputs"):
        return  # there every token of an answer counts, the end as well
    told: set[str] = set()
    for at, entry in _written(facts):
        template = _template(facts, at, entry)
        if entry.get("train_on_eos") == "none" and entry.get("train_on_eot") in (None, "none"):
            yield _asked_for(facts, at)
        elif template is not None and template.at not in told and not entry.get("message_field_training_detail"):
            told.add(template.at)
            yield from _ends(facts, template)


def _asked_for(facts: Facts, at: str) -> Diagnostic:
    return facts.report(
        "R855",
        f"{at}.train_on_eos",
        "no end of a turn is learned",
        label="the model is not taught when to stop",
        help="remove `train_on_eos`, or set it to `turn`",
        severity="warning",
    )


def end_token(facts: Facts) -> str | None:
    given = facts.get("special_tokens.eos_token")
    if isinstance(given, str):
        return given
    tokenizer = tokenizer_of(facts)
    return tokenizer.special("eos_token") if tokenizer is not None else None


def _ends(facts: Facts, template: Template) -> Iterator[Diagnostic]:
    eos, named = end_token(facts), facts.get("eot_tokens")
    if eos is None or "eot_tokens" in facts.refused:
        return  # the end token is always looked for, and may be the one
    ends = [*(map(str, named) if isinstance(named, list) else ()), eos]
    if any(template.ends_with(token, eos) for token in ends):
        return
    meant = _meant(facts, template)
    shown = " or ".join(f"`{printable(t, 40)}`" for t in ends[:4])
    yield facts.report(
        "R855",
        "eot_tokens" if named else template.at,
        f"the end of a turn is not learned: the chat template does not hold {shown}",
        label=f"it ends turns with `{printable(meant, 40)}`" if meant else "",
        note="without `eot_tokens` Axolotl looks for the tokenizer's end token" if not named else (),
        help=f'set `eot_tokens: ["{printable(meant, 40)}"]`'
        if meant
        else "name in `eot_tokens` what ends a turn, or choose a `chat_template` that ends with it",
    )


def _meant(facts: Facts, template: Template) -> str | None:
    """The token that the template seems to end a turn with, one that the tokenizer has where that is known."""
    tokenizer = tokenizer_of(facts)
    listed = list(template.ends) if template.text is None else _TOKEN.findall(template.text[:_MOST_CHARACTERS])
    good = [t for t in dict.fromkeys(listed) if tokenizer is None or tokenizer.has(t) is not False]
    if template.text is None:
        return next(iter(good or listed), None)
    return next((t for t in good if _ENDING.search(t)), None)


@rule("R856", "an end of turns that is no token", source=_STRATEGY)
def ends_are_tokens(facts: Facts) -> Iterator[Diagnostic]:
    """Each of `eot_tokens` has to be one token of the tokenizer. Text that it would cut into several makes Axolotl end
    with "EOT token is encoded as multiple tokens" once it comes to the data.
    """
    tokenizer = tokenizer_of(facts)
    named = facts.get("eot_tokens")
    if tokenizer is None or not isinstance(named, list):
        return
    added = _added(facts)
    texts = [t for at, entry in _written(facts) if (t := _template(facts, at, entry))]
    for i, token in enumerate(map(str, named)):
        held = any(t.ends_with(token, None) for t in texts)
        if held and token not in added and tokenizer.has(token) is False:
            yield facts.report(
                "R856",
                f"eot_tokens.{i}",
                f"`{printable(token, 40)}` is no token of the tokenizer",
                label="it would be cut into several",
                help=f'name a token that the tokenizer has, or add `tokens: ["{printable(token, 40)}"]`',
            )


def _added(facts: Facts) -> set[str]:
    """Tokens that the recipe adds."""
    found = {str(t) for t in facts.get("tokens", [])}
    found |= {str(t) for t in (facts.get("added_tokens_overrides") or {}).values()}
    for value in (facts.get("special_tokens") or {}).values():
        found |= {str(t) for t in value} if isinstance(value, list) else {str(value)}
    return found


@rule(
    "R857",
    "a chat template that is not Jinja",
    source="https://huggingface.co/docs/transformers/chat_templating_writing",
)
def syntax(facts: Facts) -> Iterator[Diagnostic]:
    """A chat template is Jinja, compiled when the first row is written. One that does not compile ends the run there,
    with a syntax error that names neither the file nor the recipe.
    """
    told: set[str] = set()
    for at, entry in _written(facts):
        template = _template(facts, at, entry)
        if template is None or template.text is None or template.at in told:
            continue
        told.add(template.at)
        wrong = _syntax_error(template.text[:_MOST_CHARACTERS])
        if wrong:
            yield facts.report(
                "R857",
                f"{template.at}_jinja" if template.name == _JINJA else template.at,
                f"the chat template does not compile: {printable(wrong, 160)}",
                help="mend the template" + ("" if template.name == _JINJA else " in the tokenizer's files"),
            )


def _syntax_error(text: str) -> str | None:
    """Parsed alone: nothing of it runs."""
    from jinja2 import Environment, TemplateSyntaxError, nodes
    from jinja2.ext import Extension, loopcontrols

    class Generation(Extension):
        """transformers' own block, `{% generation %}`, around what an assistant says."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's own way

        def parse(self, parser: Any) -> nodes.Node | list[nodes.Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    # the environment that transformers compiles chat templates in (utils/chat_template_utils.py)
    made = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])  # noqa: S701
    try:
        made.parse(text)
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    except RecursionError:
        return "it is nested too deeply"
    return None
