"""What went wrong, for a person: one line."""


class Problem(Exception):
    """Data, a model or a server that can't be used; the message says which, and what helps."""

    def line(self) -> str:
        return f"multimodal: error: {self}"
