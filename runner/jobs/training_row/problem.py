"""What keeps a row from being shown."""


class Unshown(Exception):
    """`kind`: `missing`, no such row; `data`, the engine can't read it; `unshown`, rows of this sort aren't shown."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind
