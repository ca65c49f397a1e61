"""Rules about trackers: TensorBoard, Weights & Biases, trackio, MLflow."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.document import walk
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

# tracker -> the keys that switch it on, as Axolotl reads them (utils/{wandb,mlflow,trackio,comet}_.py)
SWITCHES = {
    "tensorboard": ("use_tensorboard",),
    "wandb": ("use_wandb", "wandb_project"),
    "trackio": ("use_trackio", "trackio_project_name"),
    "mlflow": ("use_mlflow", "mlflow_experiment_name"),
    "comet": ("use_comet", "comet_project_name"),
}
# those whose packages the engine environment holds: tests/recipe/test_tracking.py keeps this true to the lock
THERE = ("tensorboard", "wandb", "trackio")
_ADDRESSES = re.compile(r"(?:mlflow|wandb|comet|trackio)_\w+")
_CREDENTIALS = re.compile(r"\w+://[^/\s@]+:[^/\s@]+@")


@rule(
    "R475",
    "a tracker whose package is not there",
    source="https://github.com/huggingface/transformers/blob/main/src/transformers/integrations/integration_utils.py",
)
def tracker_is_there(facts: Facts) -> Iterator[Diagnostic]:
    """Metrics go to a tracker through the engine's own support, which imports the tracker's package when training
    starts, after the model was loaded, and stops where it is missing. The engine environment has the packages of
    TensorBoard, Weights & Biases and trackio.
    """
    for tracker, keys in SWITCHES.items():
        key = next((k for k in keys if facts.has(k)), None)
        if tracker not in THERE and key is not None:
            yield facts.report(
                "R475",
                key,
                f"the engine environment has no `{tracker}`",
                note="the engine would stop when training starts, once the model was loaded",
                help="set `use_tensorboard`, `wandb_project` or `trackio_project_name`, or leave it out: "
                "every run's metrics.jsonl has all that is reported",
            )
    yield from _reported_to(facts)


def _reported_to(facts: Facts) -> Iterator[Diagnostic]:
    """Transformers' own key, which takes one word or a list of them."""
    given = facts.get("report_to", [])
    words = [given] if isinstance(given, str) else given
    for word in words if isinstance(words, list) else []:
        if word not in (*THERE, "none"):
            close = nearest_word(str(word), list(THERE))
            yield facts.report(
                "R475",
                "report_to",
                f"the engine environment has no `{printable(str(word))}`",
                label=f"did you mean `{close}`?" if close else "",
                help="name `tensorboard`, `wandb`, `trackio` or several of them",
            )


@rule(
    "R476",
    "a password in a tracker's address",
    source="https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/",
)
def address_without_credentials(facts: Facts) -> Iterator[Diagnostic]:
    """Trackers take their secrets from the environment: WANDB_API_KEY, HF_TOKEN, MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD. An address with a password in it goes to everyone who reads the recipe.
    """
    for path, node in walk(facts.doc.root):
        key = str(path[-1]) if path else ""
        if _ADDRESSES.fullmatch(key) and isinstance(node.value, str) and _CREDENTIALS.match(node.value):
            yield Diagnostic(
                "R476",
                f"`{key}` holds a password",
                node.key,
                notes=("recipes are read by others, and kept",),
                help="leave it out of the address, and set it in the environment",
            )
