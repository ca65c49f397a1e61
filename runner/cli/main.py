"""The `runner` command: finds each subcommand by looking in this folder, and loads only the one that is called."""

from __future__ import annotations

import importlib
import sys

import click

from runner import __version__

# name -> what `runner --help` says; the modules are loaded only when called, which keeps start-up in milliseconds
COMMANDS = {
    "list": "The catalogue of recipes",
    "show": "What a recipe will run, and where each value came from",
    "plan": "Does it fit, how fast, how long, what does it cost",
    "capacity": "What a box can serve of a model: memory, KV cache, speed",
    "validate": "Everything wrong with recipes, at its line, with the mend",
    "explain": "The long form of a diagnostic code",
    "new": "Start a recipe from another, comments kept",
    "import": "A recipe from a config of Axolotl, LLaMA-Factory or TRL",
    "export": "A recipe as Axolotl's plain config",
    "render": "Write what a run would execute, and run nothing",
    "run": "Run a recipe",
    "probe": "Measure a few steps of a recipe here, beside what the plan says",
    "curve": "Loss curves of runs, beside what their recipes expect",
    "serve": "Serve a model with OpenAI's interface",
    "rag": "Answer from documents: a recipe's index and model, with a chat page",
    "ps": "Endpoints that run, as their processes tell it",
    "stop": "Drain an endpoint and leave nothing of it",
    "sample": "Let a trained model speak",
    "collect": "A sweep's children as one table",
    "compare": "Evaluations side by side, on the same documents",
    "why": "What happened in a run that failed, the likely cause, the knob",
    "last": "The newest finished run of a recipe, and what it left",
    "lock": "Pin what a recipe will run: commits, data, environments, seeds",
    "reproduce": "Run a run again from its directory alone, and compare",
    "verify": "Is a run still what its record says: hashes, files, lineage",
    "card": "The card of a model that a run left, in the hub's format",
    "gc": "Free space, and keep what something else needs",
    "graph": "Write the makefile that chains the recipes",
    "fit": "A scaling law from runs: parameters with intervals, optimum, doubts, plots",
    "optimal": "What to train with a budget, by a fitted scaling law",
    "calibrate": "Refit the plan from measurements, and show the error before and after",
    "doctor": "What this machine has and lacks",
    "env": "Engine environments: list, build, remove",
}
# a module can't have the name of a keyword
_MODULES = {"import": "import_"}
EPILOG = """
\b
Examples:
  runner validate phase4/dpo-13b
  runner plan phase4/dpo-13b --box 8xh100
  runner run phase4/dpo-13b --profile smoke
  runner new phase4/my-dpo --from phase4/dpo-13b
"""


class Commands(click.Group):
    """A group whose commands are modules of this package, each with a click command named `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"runner.cli.{_MODULES.get(cmd_name, cmd_name)}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(args[0], list(COMMANDS), n=1)
            ctx.fail(f"no command {args[0]!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runner")
def cli() -> None:
    """Declarative recipes for large language models: checked, planned, rendered and run on the field's own engines."""


def main() -> None:
    """The one error handler: a recipe's faults exit 1, usage 2, our own bugs 3, interruption 130."""
    from runner.recipe.load import Refused

    try:
        code = cli.main(standalone_mode=False)
    except Refused as refused:
        from runner.cli.output import print_diagnostics

        print_diagnostics(refused.diagnostics)
        sys.exit(1)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        _our_bug(error)
        sys.exit(3)
    sys.exit(code if isinstance(code, int) else 0)


def _our_bug(error: Exception) -> None:
    import os
    import tempfile
    import traceback

    from runner.redact import redact

    if os.environ.get("RUNNER_DEBUG"):
        traceback.print_exc()
        return
    with tempfile.NamedTemporaryFile("w", prefix="runner-bug-", suffix=".txt", delete=False) as report:
        report.write(f"runner {__version__}, python {sys.version}\n{redact(' '.join(sys.argv))}\n\n")
        report.write(redact(traceback.format_exc()))
    click.echo(f"error: this is a bug in the runner: {type(error).__name__}: {redact(str(error))}", err=True)
    click.echo(f"  = help: please report it with {report.name}", err=True)
