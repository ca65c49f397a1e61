"""Rules about values that an engine would import, write to, or read as one of its own flags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from runner.diagnostics import Diagnostic
from runner.recipe.document import Node, Path, walk
from runner.recipe.kinds import engine_of
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

# keys whose value, or values below it, are import paths
IMPORTED = frozenset(
    {
        "plugins", "trainer_cls", "reward_funcs", "rollout_func", "serve_module", "worker_cls", "worker_extension_cls",
        "scheduler_cls", "logits_processors", "middleware", "io_processor_plugin", "model_class_overrides",
        "kv_connector_module_path", "ec_connector_module_path", "inductor_passes", "torchdistx_path",
        "tool_parser_plugin", "reasoning_parser_plugin", "log_config_file",
    }
)  # fmt: skip
# with import paths for the values of a mapping, under any key
_MAPPINGS = frozenset({"model_class_overrides", "inductor_passes"})
# what the engines bring themselves: modules, and formats of rows
_THEIRS = ("axolotl.", "vllm.", "trl.")
_FORMATS = (
    "chat_template.", "chatml.", "llama3.", "zephyr.", "passthrough.", "user_defined.", "bradley_terry.", "ebft.",
    "messages.", "alpaca.", "alpaca_chat.", "alpaca_instruct.", "alpaca_w_system.", "context_qa.", "creative_acr.",
    "completion.", "input_output.", "metharme.", "orcamini.", "pygmalion.", "llama2_chat.", "stepwise_supervised.",
    "ebft_", "sharegpt",
)  # fmt: skip
_DATASETS = ("datasets", "test_datasets", "pretraining_dataset")
# keys of places that an engine writes to
WRITTEN = frozenset(
    {
        "download_dir", "torch_profiler_dir", "mm_encoder_fp8_scale_save_path", "trigger_file_path",
        "shared_storage_path", "debug_dump_path", "cache_dir",
    }
)  # fmt: skip
_VLLM = "https://docs.vllm.ai/en/latest/cli/serve/"


def _last_word(path: Path) -> str:
    """The last key on the way, as Python spells it: below `engine_args` it may be `--worker-cls`."""
    word = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    return word.lstrip("-").replace("-", "_")


def _at(node: Node, code: str, message: str, **more: str) -> Diagnostic:
    label, note, help = (more.get(k, "") for k in ("label", "note", "help"))
    return Diagnostic(code, message, node.key, label, (note,) if note else (), help)


def _texts(facts: Facts) -> Iterator[tuple[Path, Node, str]]:
    for path, node in walk(facts.doc.root):
        if isinstance(node.value, str) and path and path[0] not in ("needs", "expect", "allow", "title"):
            yield path, node, node.value


@rule("R841", "code that nobody allowed to be imported", source="https://docs.python.org/3/library/importlib.html")
def imported(facts: Facts) -> Iterator[Diagnostic]:
    """Plugins, reward functions, formats of your own and classes that replace the engine's are Python that runs with
    everything the user running the recipe can reach. The recipe names the file under `allow` in its header, where a
    reviewer looks: `rewards.py` for `rewards.exact`, `my/formats.py` for all that is in `my.formats`. What the engine
    brings itself needs no leave.
    """
    if "allow" in facts.refused:
        return
    allowed = [str(name).removesuffix(".py").replace("/", ".") for name in facts.get("allow", [])]
    for path, node, text in _texts(facts):
        module = text.removesuffix(".py").replace("/", ".")
        if not _imports(path, text) or any(module == each or module.startswith(f"{each}.") for each in allowed):
            continue
        file = text if "/" in text or text.endswith(".py") else _file_of(module)
        shown = printable(_last_word(path), 40)
        yield _at(
            node,
            "R841",
            f"`{shown}` imports `{printable(text, 60)}`, and the recipe does not allow it",
            label="read that code first",
            help=f"remove it, or add `allow: [{printable(file, 60)}]`" if file.endswith(".py") else "remove it",
        )


def _imports(path: Path, text: str) -> bool:
    key = _last_word(path)
    if not text or text.startswith(("${", *_THEIRS)):
        return False
    if key in IMPORTED or _MAPPINGS & set(map(str, path[:-1])):
        return key != "reward_funcs" or "/" not in text  # else a reward model's folder, or its name on the hub
    if "." not in text:
        return False  # a word that the engine knows
    if key == "type":
        return path[0] in _DATASETS and not text.startswith(_FORMATS)
    return key == "distributed_executor_backend" or (key == "backend" and "compilation_config" in path)


def _file_of(module: str) -> str:
    parent = module.rpartition(".")[0] or module
    return parent.replace(".", "/") + ".py"


@rule("R842", "a place outside the run", source="https://owasp.org/www-community/attacks/Path_Traversal")
def outside(facts: Facts) -> Iterator[Diagnostic]:
    """What a run writes lies in its own folder below artifacts/, so that it can be found, compared and removed, and so
    that no recipe writes over anything else. Paths that an engine writes to are relative to that folder and don't leave
    it.
    """
    for path, node, text in _texts(facts):
        if _last_word(path) not in WRITTEN or not text:
            continue
        place = PurePosixPath(text)
        if place.is_absolute() or ".." in place.parts or text.startswith(("~", "$")) or "://" in text:
            yield _at(
                node,
                "R842",
                f"`{printable(_last_word(path), 40)}` would be written outside the run's folder",
                help="name a folder relative to it, such as `./profile`, or remove it",
            )


@rule("R843", "a value that would be read as a flag", source=_VLLM)
def flags(facts: Facts) -> Iterator[Diagnostic]:
    """A server gets its keys as a command line, on which a word that begins with `-` is a flag: as a name or a model it
    would set something that the recipe does not say.
    """
    serves = engine_of(facts.kind) == "vllm"
    for path, node, text in _texts(facts):
        if text.startswith("-") and (serves or "serve" in path or path[0] == "endpoints"):
            shown = printable(_last_word(path), 40)
            message = f"`{shown}` would be read as a flag: `{printable(text, 40)}`"
            yield replace(_at(node, "R843", message, help="write a value that does not begin with `-`"))
