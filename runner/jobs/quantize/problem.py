"""What went wrong, for a person: one line."""


class Problem(Exception):
    """`str()` of it says what; `help` how to mend it."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    def line(self) -> str:
        return f"quantize: error: {self}" + (f"; {self.help}" if self.help else "")
