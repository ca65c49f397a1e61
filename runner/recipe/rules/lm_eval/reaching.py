"""Rules about the model that answers: loaded, served for the run, or served somewhere."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.artifacts import REFERENCE
from runner.recipe.kinds import kind_names, kind_schema
from runner.recipe.lm_eval_tasks import LIKELIHOODS
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.lm_eval.tasks import named

CHAT = "chat-completions"
_MODELS = "https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/API_guide.md"


def chat(facts: Facts) -> bool:
    return facts.get("api") == CHAT and (facts.has("endpoint") or facts.get("serve") is not None)


@rule("R942", "likelihoods of a chat endpoint", source=_MODELS)
def likelihoods(facts: Facts) -> Iterator[Diagnostic]:
    """Tasks of several choices compare how likely the model finds each; chat completions give no likelihoods of a
    prompt, and lm-eval raises at the first such request, after the server has been started.
    """
    if not chat(facts):
        return
    for at, name, task in named(facts):
        if task is not None and (asks := sorted(task.asks & LIKELIHOODS)):
            yield facts.report(
                "R942",
                at,
                f"`{name}` asks for likelihoods, which chat completions don't give",
                label=", ".join(f"`{each}`" for each in asks),
                help="set `api: completions`, with `apply_chat_template: true` for a model that was trained on turns",
            )


@rule("R943", "a chat template is needed", source=_MODELS)
def template_needed(facts: Facts) -> Iterator[Diagnostic]:
    """Chat completions take messages, which lm-eval makes with `apply_chat_template` alone, and asserts so at the first
    request. Examples as turns, `fewshot_as_multiturn: true`, need turns too: lm-eval refuses that without a template.
    """
    if facts.has("apply_chat_template") or "apply_chat_template" in facts.refused:
        return
    if chat(facts):
        at, message = "api", "chat completions take messages, and without a chat template there are none"
    elif facts.has("fewshot_as_multiturn"):
        at, message = "fewshot_as_multiturn", "examples can't be turns without a chat template"
    else:
        return
    yield facts.report("R943", at, message, help="add `apply_chat_template: true`")


@rule(
    "R944",
    "examples inside one turn",
    source="https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/chat-template-readme.md",
    severity="warning",
)
def examples_in_one_turn(facts: Facts) -> Iterator[Diagnostic]:
    """Asked through chat completions with `fewshot_as_multiturn: false`, all examples with their answers stand in one
    message of the user's, and the model that was trained on turns answers something else than in a conversation.
    """
    if chat(facts) and facts.get("fewshot_as_multiturn") is False and facts.get("num_fewshot", 0) > 0:
        yield facts.report(
            "R944",
            "fewshot_as_multiturn",
            f"{facts.get('num_fewshot')} examples with their answers stand in one message of the user's",
            help="remove `fewshot_as_multiturn`, or set `num_fewshot: 0`",
            severity="warning",
        )


@rule("R946", "not one model that answers", source=_MODELS)
def one_model(facts: Facts) -> Iterator[Diagnostic]:
    """The model is loaded by lm-eval, or served for the run (`serve`), or served already (`endpoint`): one of these.
    Keys that mean another are read by nobody. An endpoint that is asked for completions gets tokens, so it needs to be
    told whose: `tokenizer`.
    """
    served, endpoint = facts.get("serve") is not None, facts.has("endpoint")
    if served and endpoint:
        yield facts.report(
            "R946", "serve", "the model is served for the run and asked elsewhere", help="remove `serve` or `endpoint`"
        )
        return
    if facts.lacks("model"):
        what = "the name that the endpoint serves it by" if endpoint else "of the hub, a folder, or `${needs.x.model}`"
        yield facts.report("R946", "tasks", "there is no `model` to measure", help=f"add `model:` ({what})")
    if facts.has("api") and not (served or endpoint or facts.refused & {"serve", "endpoint"}):
        yield facts.report(
            "R946",
            "api",
            "`api` is an endpoint's, and the model is loaded",
            label="nothing reads it",
            help="remove `api`, or add `serve: {}`",
        )
    if endpoint and not chat(facts) and facts.lacks("tokenizer"):
        yield facts.report(
            "R946",
            "endpoint",
            "prompts are sent as tokens, and the recipe does not say of which tokenizer",
            help="add `tokenizer:`, the model's name on the hub or its folder",
        )
    if endpoint and facts.has("peft"):
        yield facts.report(
            "R946",
            "peft",
            "an endpoint has its adapters already",
            label="nothing reads it",
            help="remove `peft`, and name the adapter as `model`, by the name that it is served by",
        )


@rule(
    "R947",
    "an adapter on what holds it already",
    source="https://huggingface.co/docs/peft/developer_guides/lora#merge-lora-weights-into-the-base-model",
)
def adapter_twice(facts: Facts) -> Iterator[Diagnostic]:
    """A merged model holds its adapter: put on once more, its changes count double, which raises no error and gives
    scores that mean nothing. The same for an adapter that is named as `model` and has another beside it.
    """
    model, peft = (REFERENCE.fullmatch(str(facts.get(key, ""))) for key in ("model", "peft"))
    arguments = facts.get("model_args")
    if isinstance(arguments, dict) and "peft" in arguments:
        yield facts.report(
            "R947",
            "model_args.peft",
            "an adapter among `model_args` is not checked against the model",
            help="move it to `peft`",
        )
    if not facts.has("peft") or model is None:
        return
    if model["output"] == "adapter":
        yield facts.report(
            "R947",
            "peft",
            "`model` is an adapter itself, which is put on its own base",
            help="remove `peft`, or name the base as `model`",
        )
    elif peft is not None and model["alias"] == peft["alias"]:
        yield facts.report(
            "R947",
            "peft",
            f"`{model[0]}` holds this adapter already: it was merged into it",
            help="remove `peft`",
        )


@rule("R948", "a key that no server takes", source="https://docs.vllm.ai/en/stable/configuration/engine_args.html")
def server_keys(facts: Facts) -> Iterator[Diagnostic]:
    """`serve` and `judge.serve` hold keys of kind `serve`, which are vLLM's engine arguments in snake_case. Another
    would be told by the server only when it starts. What is served for `serve` is the recipe's own `model`.
    """
    if facts.has("serve.model"):
        yield facts.report(
            "R948",
            "serve.model",
            "what is served is the recipe's own `model`",
            label="another would be measured under its name",
            help="move it to `model`",
        )
    # with the runner comes that kind; its schema is what a server takes
    known = kind_schema("serve")["properties"] if "serve" in kind_names() else None
    if known is None:
        return
    for path in ("serve", "judge.serve"):
        node = facts.node(path)
        for key in node.value if node is not None and isinstance(node.value, dict) else ():
            if key not in known:
                close = nearest_word(key, list(known))
                yield facts.report(
                    "R948",
                    f"{path}.{key}",
                    f"unknown key `{printable(key)}` in `{path}`",
                    label=f"did you mean `{close}`?" if close else "",
                    help=f"rename it to `{close}`" if close else f"remove `{printable(key)}`",
                )
