"""Rules about plugins: what there is, whose keys are whose, and what each needs. The schema says which key is whose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.diagnostics import Diagnostic
from runner.recipe.kinds import kind_schema
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

_INTEGRATIONS = "axolotl.integrations."
_SOURCE = "https://docs.axolotl.ai/docs/custom_integrations.html"
_SWANLAB_MODES = ("cloud", "local", "offline", "disabled")


@dataclass(frozen=True, slots=True)
class _Library:
    """What a plugin imports once training starts, and the pinned environment can't have."""

    name: str
    asked: Callable[[Facts], bool]
    help: str


# family -> library; those that are no released package, or that the pinned ones have no room for
LIBRARIES = {
    "cut_cross_entropy": _Library(
        "Axolotl's fork of `cut_cross_entropy`",
        lambda facts: facts.get("cut_cross_entropy") is not False,
        "use `chunked_cross_entropy: true`, which needs no plugin",
    ),
    "densemixer": _Library("`densemixer`", lambda facts: facts.get("dense_mixer") is not False, "remove the plugin"),
    "expert_parallel": _Library(
        "`deep_ep`",
        lambda facts: facts.get("expert_parallel_size", 1) > 1,
        "remove `expert_parallel_size`, and shard the experts with `deepspeed` or `fsdp_config`",
    ),
    "hatchery": _Library("`tinker` or `hatchery`", lambda facts: True, "remove the plugin, and train on a box"),
    "llm_compressor": _Library(
        "`llmcompressor`", lambda facts: True, "remove the plugin, and quantize with a recipe of kind `quantize`"
    ),
    "mora": _Library("a PEFT with MoRA", lambda facts: facts.adapter == "mora", "set `adapter: lora`"),
    "swanlab": _Library(
        "`swanlab`",
        lambda facts: facts.get("use_swanlab") is not False,
        "set `use_swanlab: false`, and log with `use_wandb: true`, or with what `runner curve` draws by itself",
    ),
}


def _family(plugin: str) -> str:
    return plugin.removeprefix(_INTEGRATIONS).split(".")[0]


def _known(facts: Facts) -> dict[str, str]:
    """Axolotl's own plugins: family -> its full name."""
    return {_family(name): name for name in kind_schema(facts.kind)["properties"]["plugins"]["items"]["examples"]}


def _unavailable(facts: Facts) -> set[str]:
    return {_family(name) for name in kind_schema(facts.kind)["properties"]["plugins"]["x-unavailable"]}


def _given(facts: Facts) -> dict[str, str]:
    """The recipe's plugins of Axolotl's: family -> where it stands."""
    known = _known(facts).keys() | _unavailable(facts)
    return {family: at for at, node in facts.all("plugins.*") if (family := _family(str(node.value))) in known}


@rule("R198", "a plugin's key without the plugin", source=_SOURCE)
def key_without_plugin(facts: Facts) -> Iterator[Diagnostic]:
    """Keys such as `liger_rms_norm` belong to plugins. Without the plugin in `plugins` Axolotl drops them as it drops
    any key it does not know, without a word: the run works, and is slower or larger than the recipe says.
    """
    if "plugins" in facts.refused:
        return
    given = _given(facts)
    used: dict[str, list[str]] = {}
    for key in sorted((k for k in facts.doc.keys if facts.get(k) is not None), key=facts.span):
        plugin = kind_schema(facts.kind)["properties"].get(key, {}).get("x-plugin")
        if plugin is not None and _family(plugin) not in given:
            used.setdefault(plugin, []).append(key)
    for plugin, keys in used.items():
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        yield facts.report(
            "R198",
            keys[0],
            f"`{keys[0]}`{more} {'do' if more else 'does'} nothing without a plugin",
            help=f"add `{plugin}` to `plugins`",
        )


@rule("R835", "a plugin that Axolotl does not have", source=_SOURCE)
def unknown_plugin(facts: Facts) -> Iterator[Diagnostic]:
    """A plugin is a class by the name of its module. One that can't be imported Axolotl tells in its log, and trains
    without it; what is no such name at all stops it.
    """
    known, unavailable = _known(facts), _unavailable(facts)
    for at, node in facts.all("plugins.*"):
        given = str(node.value)
        module, _, name = given.removeprefix(_INTEGRATIONS).rpartition(".")
        family = module.split(".")[0]
        if module and ((not given.startswith(_INTEGRATIONS) and family not in known) or family in unavailable):
            continue  # somebody's own, or R870's
        if not module or family not in known or not known[family].endswith(f".{name}"):
            names = [plugin.removeprefix(_INTEGRATIONS) for plugin in known.values()]
            nearest = nearest_word(given.removeprefix(_INTEGRATIONS), names)
            close = known.get(family) or (f"{_INTEGRATIONS}{nearest}" if nearest else "")
            yield facts.report(
                "R835",
                at,
                f"no plugin `{printable(given)}`" if module else f"`{printable(given)}` is not a plugin's name",
                label=f"did you mean `{close}`?" if close else "",
                help=f"write `{close}`" if close else "write MODULE.CLASS",
            )


@rule("R870", "a plugin whose library is not there", source=_SOURCE)
def without_library(facts: Facts) -> Iterator[Diagnostic]:
    """Some of Axolotl's plugins import a library that is not a part of Axolotl, and that its pinned environment does
    not have: a fork that is not released as a package, or one that wants other versions. They pass Axolotl's validator.
    The run stops when the model is loaded, or goes on without what the plugin is for.
    """
    for family, at in _given(facts).items():
        library = LIBRARIES.get(family)
        if library is not None and library.asked(facts):
            yield facts.report(
                "R870",
                at,
                f"the plugin `{family}` needs {library.name}, which Axolotl's environment does not have",
                help=library.help,
            )


@rule("R871", "servers from a repository that nobody allowed", source="https://docs.nvidia.com/nemo/gym/latest/")
def nemo_gym(facts: Facts) -> Iterator[Diagnostic]:
    """The plugin for NeMo Gym clones a repository, builds its environment and starts servers from it as the run begins.
    That is code which can change after the recipe was read, with everything the user running it can reach. A recipe
    that needs it says so in its header, where a reviewer looks.
    """
    at = _given(facts).get("nemo_gym")
    allowed = "trust_remote_code" in facts.get("allow", []) or "allow" in facts.refused
    if at is not None and not allowed and facts.get("nemo_gym_enabled") is True:
        yield facts.report(
            "R871",
            "nemo_gym_enabled",
            "`nemo_gym_enabled` runs a repository's servers, and the recipe does not allow it",
            label="read that code first",
            help="remove it, or add `allow: [trust_remote_code]`",
        )


@rule("R872", "what a plugin refuses", source=_SOURCE)
def plugin_refuses(facts: Facts) -> Iterator[Diagnostic]:
    """Plugins check their own keys when Axolotl reads a config with them: a project to log to, bounds in their order,
    servers and rows to take rewards from. Where one is wrong the run does not start.
    """
    for family, check in _CHECKS.items():
        if family in _given(facts):
            yield from check(facts)


def _swanlab(facts: Facts) -> Iterator[Diagnostic]:
    project = facts.get("swanlab_project")
    if "swanlab_project" not in facts.refused and (
        project.strip() == "" if isinstance(project, str) else facts.get("use_swanlab", True) is True
    ):
        at = "swanlab_project" if project is not None else _given(facts)["swanlab"]
        yield facts.report(
            "R872", at, "SwanLab needs a project", help="set `swanlab_project`, or `use_swanlab: false` without it"
        )
    mode = facts.get("swanlab_mode")
    if mode is not None and mode not in _SWANLAB_MODES:
        yield facts.report(
            "R872",
            "swanlab_mode",
            f"`swanlab_mode` can't be `{printable(str(mode))}`",
            help="use " + " or ".join(f"`{word}`" for word in _SWANLAB_MODES),
        )


def _diffusion(facts: Facts) -> Iterator[Diagnostic]:
    low, high = facts.get("diffusion.min_mask_ratio", 0.1), facts.get("diffusion.max_mask_ratio", 0.9)
    if low > high:
        at = "min_mask_ratio" if facts.node("diffusion.min_mask_ratio") is not None else "max_mask_ratio"
        yield facts.report(
            "R872",
            f"diffusion.{at}",
            f"the smallest mask ratio is above the largest: {low} and {high}",
            help="write a `min_mask_ratio` that is at most `max_mask_ratio`",
        )


def _experts(facts: Facts) -> Iterator[Diagnostic]:
    for key in ("expert_parallel_size", "expert_parallel_token_capacity"):
        if facts.get(key, 1) < 1:
            yield facts.report("R872", key, f"`{key}` must be at least 1, not {facts.get(key)}", help=f"remove `{key}`")


def _gym(facts: Facts) -> Iterator[Diagnostic]:
    if not facts.has("nemo_gym_enabled"):
        return
    starts = facts.get("nemo_gym_auto_start", True)
    for key, needed in (("nemo_gym_config_paths", starts), ("nemo_gym_datasets", True)):
        if needed and not facts.get(key) and key not in facts.refused:
            yield facts.report("R872", "nemo_gym_enabled", f"`nemo_gym_enabled` needs `{key}`", help=f"add `{key}`")


_CHECKS = {"swanlab": _swanlab, "diffusion": _diffusion, "expert_parallel": _experts, "nemo_gym": _gym}
