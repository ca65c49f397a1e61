"""Progress on a terminal as a bar, elsewhere as plain lines, few enough to read in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

import click

from runner.engines import Step
from runner.engines.environment import Environment
from runner.engines.environment import Progress as BuildProgress
from runner.launch.follow import Progress

# a plain line for every tenth of the steps, and at least this often while something moves
PLAIN_EVERY_S = 60.0


class Named(Protocol):
    """What a view is called by: a recipe, or a run of one."""

    @property
    def name(self) -> str: ...

    @property
    def profile(self) -> str: ...


class RunView:
    """Shows a run: `step`, loss, tokens/s and what is left."""

    def __init__(self, recipe: Named, steps: tuple[Step, ...]) -> None:
        self.title = f"{recipe.name} ({recipe.profile})"
        self.does = {s.name: s.does for s in steps}
        self.tty = sys.stderr.isatty()
        self.part = ""
        self.told_step = 0
        self.told_at = 0.0
        self.waits_for = ""
        # time and step of the first report: a run that goes on does not start at step 0
        self.began: tuple[float, int] | None = None
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> RunView:
        if self.tty:
            self._open_bar()
        return self

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self.bar.start()
        self.task = self.bar.add_task(self.title, total=None, status="")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()

    def watch(self, progress: Progress) -> None:
        if progress.part != self.part:
            self.part = progress.part
            if self.part in self.does:
                self._say(f"{self.title}: {self.part}: {self.does[self.part]}")
        if progress.step and self.began is None:
            self.began = time.monotonic(), progress.step
        if self.bar is not None:
            training = self.part == "train" and progress.step > 0
            self.bar.update(
                self.task,
                completed=progress.step if training else 0,
                total=progress.max_steps if training else None,
                description=f"{self.title} {self.part}",
                status=self._status(progress) if training else duration(progress.seconds),
            )
        elif self._worth_telling(progress):
            self.told_step, self.told_at = progress.step, progress.seconds
            self._say(f"{self.title}: step {progress.step}/{progress.max_steps} {self._status(progress)}".rstrip())

    def _worth_telling(self, progress: Progress) -> bool:
        if not progress.step or progress.step == self.told_step:
            return False
        tenth = max(1, progress.max_steps // 10)
        since = progress.seconds - self.told_at
        due = (progress.step - self.told_step >= tenth and since > 1) or since >= PLAIN_EVERY_S
        return due or progress.step == progress.max_steps

    def _status(self, progress: Progress) -> str:
        words = []
        if progress.loss is not None:
            words.append(f"loss {progress.loss:.3f}")
        if progress.tokens_per_s:
            words.append(f"{progress.tokens_per_s:,.0f} tok/s")
        if self.began is not None and self.began[1] < progress.step < progress.max_steps:
            each = (time.monotonic() - self.began[0]) / (progress.step - self.began[1])
            words.append("eta " + duration(each * (progress.max_steps - progress.step)))
        return "  ".join(words)

    def tell(self, text: str) -> None:
        self._say(f"{self.title}: {text}")

    def waiting(self, who: str, seconds: float) -> None:
        """Told once for each that we wait for, and now and then how long already."""
        if who != self.waits_for or seconds - self.told_at >= PLAIN_EVERY_S:
            since = f", for {duration(seconds)} so far" if who == self.waits_for else ""
            self.waits_for, self.told_at = who, seconds
            self.tell(f"waiting for {who}{since}")

    def _say(self, text: str) -> None:
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False)
        else:
            click.echo(text, err=True)


def duration(seconds: float) -> str:
    """`42s`, `3m10s`, `5h02m`."""
    seconds = int(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


@contextmanager
def build_view(env: Environment) -> Iterator[Callable[[BuildProgress], None]]:
    """Tells how the building of an engine environment goes."""
    click.echo(f"building the {env.engine} environment in {env.path} (once, for every clone)", err=True)
    told = [-30.0]

    def plain(progress: BuildProgress) -> None:
        if progress.seconds - told[0] >= 15:
            told[0] = progress.seconds
            click.echo("  " + progress.line(), err=True)

    if not sys.stderr.isatty():
        yield plain
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda progress: status.update(progress.line())
