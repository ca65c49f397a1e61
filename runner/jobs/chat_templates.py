"""data/chat_templates.yaml: what ends a turn in each chat template that Axolotl ships, by rendering it.

Runs in Axolotl's environment; `make templates`. Each is rendered with a question and an answer, plain or in parts.
"""

import re

from axolotl.utils.chat_templates.base import _CHAT_TEMPLATES
from transformers.utils.chat_template_utils import _compile_jinja_template

HEAD = """\
# What stands behind an answer in Axolotl's chat templates, by runner/jobs/chat_templates.py (`make templates`).
# `eos`: the tokenizer's end token, whatever that is. `ends`: tokens that the template itself writes out, in order.
# Source: https://github.com/axolotl-ai-cloud/axolotl/tree/main/src/axolotl/utils/chat_templates/templates
"""
QUESTION, ANSWER, BOS, EOS = "QUESTION", "ANSWER", "<BOS>", "<EOS>"
TOKEN = re.compile(r"<[^<>\s]{1,40}>|\[\|[^\[\]\s]{1,40}\|\]")
# as far behind an answer as Axolotl looks for the token that ends it
REACH = 3


def tail(text: str) -> str:
    """What a template writes behind the last answer."""
    for content in (ANSWER, [{"type": "text", "text": ANSWER}]):
        asked = QUESTION if content == ANSWER else [{"type": "text", "text": QUESTION}]
        try:
            said = _compile_jinja_template(text).render(
                messages=[{"role": "user", "content": asked}, {"role": "assistant", "content": content}],
                bos_token=BOS,
                eos_token=EOS,
                add_generation_prompt=False,
            )
        except Exception:  # noqa: S112 - the other form of content, or none
            continue
        if ANSWER in said:
            return said.rpartition(ANSWER)[2]
    return ""


def main() -> None:
    print(HEAD, end="")
    for name, text in sorted(_CHAT_TEMPLATES.items()):
        found = TOKEN.findall(tail(text))[:REACH]
        ends = ", ".join(f'"{token}"' for token in found if token != EOS)
        print(f"{name}: {{eos: {'true' if EOS in found else 'false'}, ends: [{ends}]}}")


if __name__ == "__main__":
    main()
