"""The `runner` command: finds each subcommand by looking in this folder, and loads only the one that is called."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

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
    "rag": "Answer from documents, with citations and a chat page",
    "ps": "Endpoints that run, as their processes tell it",
    "stop": "Drain an endpoint and leave nothing of it",
    "sample": "Let a trained model speak",
    "collect": "A sweep's children as one table",
    "compare": "Runs side by side: settings, figures, what chance does",
    "why": "What happened in a run that failed, the likely cause, the knob",
    "runs": "What ran, newest first: how it ended and what it cost",
    "report": "All runs as one HTML page, to keep or to watch",
    "path": "The twenty weeks: what is done, what is next, at what cost",
    "log": "Draft the log of a week from its runs",
    "note": "Start a note on a paper of the plan",
    "last": "The newest finished run of a recipe, and what it left",
    "lock": "Pin what a recipe will run: commits, data, environments, seeds",
    "reproduce": "Run a run again from its directory alone, and compare",
    "verify": "Is a run still what its record says: hashes, files, lineage",
    "card": "The card of a model that a run left, in the hub's format",
    "gc": "Free space, and keep what something else needs",
    "graph": "Write the makefile that chains the recipes",
    "fit": "A scaling law from runs: intervals, optimum, doubts, plots",
    "optimal": "What to train with a budget, by a fitted scaling law",
    "calibrate": "Refit the plan from measurements; its error before and after",
    "doctor": "What this machine has and lacks",
    "env": "Engine environments: list, build, remove",
    "completion": "Let bash, zsh or fish complete what you type",
}
# the order and the headings of `runner --help`
SECTIONS = {
    "Recipes": ("list", "show", "new", "validate", "explain", "plan", "render", "import", "export"),
    "Run": ("run", "why", "probe", "lock", "reproduce", "verify", "gc", "graph"),
    "Look": ("runs", "last", "curve", "compare", "collect", "card", "report"),
    "Models": ("serve", "rag", "ps", "stop", "sample", "capacity"),
    "Learn": ("path", "log", "note", "fit", "optimal"),
    "Machine": ("doctor", "env", "calibrate", "completion"),
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
  runner path --week 5

`runner COMMAND --help` says more, with examples; `make help` lists make's targets.
"""
WIDEST = 100


class Commands(click.Group):
    """A group whose commands are modules of this package, each with a click command named `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from runner.cli.examples import epilog_of

        module = importlib.import_module(f"runner.cli.{_MODULES.get(cmd_name, cmd_name)}")
        found: click.Command = module.command
        found.epilog = found.epilog or epilog_of(cmd_name)
        for name, below in found.commands.items() if isinstance(found, click.Group) else ():
            below.epilog = below.epilog or epilog_of(f"{cmd_name} {name}")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(args[0], list(COMMANDS), n=1)
            ctx.fail(f"no command {args[0]!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # which click would end with 1, a recipe's fault
            ctx.exit(141)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Without loading a module for each command, as click would."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=does) for name, does in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for section, names in sections().items():
            with formatter.section(section):
                formatter.write_dl([(f"{name:<{width}}", COMMANDS[name]) for name in names])


def sections() -> dict[str, list[str]]:
    """Headings of the help, each with its commands; what stands under none comes last."""
    found = {section: [name for name in names if name in COMMANDS] for section, names in SECTIONS.items()}
    rest = [name for name in COMMANDS if not any(name in names for names in found.values())]
    return {**found, **({"More": rest} if rest else {})}


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
)
@click.version_option(__version__, prog_name="runner")
def cli() -> None:
    """Declarative recipes for large language models: checked, planned, rendered and run on the field's own engines."""


def main() -> None:
    """The one error handler: a recipe's faults exit 1, usage 2, our own bugs 3, interruption 130."""
    _open_streams()
    try:
        code = cli.main(prog_name="runner", complete_var="_RUNNER_COMPLETE", standalone_mode=False)
        sys.stdout.flush()  # what can't be written must be told here, and not by the interpreter at its end
    except (click.exceptions.Abort, KeyboardInterrupt):
        _exit(130)
    except click.ClickException as error:
        _usage(error)
        _exit(2)
    except BrokenPipeError:
        _exit(141)
    except Exception as error:
        _exit(_told(error))
    _exit(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """A stream that the caller has closed (`>&-`) is none at all in Python, which nothing below expects."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - for as long as we run


def _exit(code: int) -> NoReturn:
    """Whatever is left for a reader that has gone is thrown away rather than told about."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _usage(error: click.ClickException) -> None:
    told = error.format_message()
    click.echo(f"{_mark('error')}: {told[:1].lower()}{told[1:].rstrip('.')}", err=True)
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path if ctx is not None else "runner"
    click.echo(f"  = {_mark('help')}: `{command} --help` shows how it is used", err=True)


def _mark(word: str) -> str:
    from runner.cli.output import wants_colour
    from runner.diagnostics import ansi

    return ansi(word, word) if wants_colour(sys.stderr) else word


def _told(error: Exception) -> int:
    """What a failure is, and its exit code."""
    from runner.recipe.load import Refused

    if isinstance(error, Refused):
        from runner.cli.output import print_diagnostics

        print_diagnostics(error.diagnostics)
        return 1
    if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
        click.echo(f"{_mark('error')}: can't write the output: {error.strerror}", err=True)
        return 1
    _our_bug(error)
    return 3


def _our_bug(error: Exception) -> None:
    import tempfile
    import traceback

    from runner.redact import redact

    if os.environ.get("RUNNER_DEBUG"):
        traceback.print_exc()
        return
    told = f"{type(error).__name__}: {redact(str(error))}"
    click.echo(f"{_mark('error')}: this is a bug in the runner: {told}", err=True)
    text = (
        f"runner {__version__}, python {sys.version}\n{redact(' '.join(sys.argv))}\n\n{redact(traceback.format_exc())}"
    )
    try:
        with tempfile.NamedTemporaryFile("w", prefix="runner-bug-", suffix=".txt", delete=False) as report:
            report.write(text)
    except OSError as why:
        click.echo(
            f"  = note: no report could be written: {why.strerror}; RUNNER_DEBUG=1 shows the traceback", err=True
        )
        return
    click.echo(f"  = {_mark('help')}: please report it with {report.name}", err=True)
