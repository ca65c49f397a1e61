"""Pictures of one coloured shape each, with a question and its answer: no download, and what is right is known."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDE = 56
COLOURS = {
    "red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (235, 215, 50),
    "white": (245, 245, 245), "purple": (150, 50, 170),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "cross")
BACKGROUNDS = ((0, 0, 0), (60, 60, 60), (90, 70, 50))
QUESTIONS = ("What colour is it?", "What shape is it?")
DESCRIBE = "Describe the picture."


@dataclass(frozen=True, slots=True)
class Drawn:
    """A shape of `size` pixels with its upper left corner at `at`."""

    shape: str
    colour: str
    size: int
    at: tuple[int, int]
    background: tuple[int, int, int]

    @property
    def name(self) -> str:
        return (
            f"{self.colour}-{self.shape}-{self.size}-{self.at[0]}-{self.at[1]}-{BACKGROUNDS.index(self.background)}.png"
        )


def drawn(count: int, seed: int) -> Iterator[Drawn]:
    """The same for the same seed. An even seed draws only what no odd seed draws, so that one can be held out from the
    other: shapes of even sizes, or of odd ones."""
    draw = random.Random(seed)  # noqa: S311 - data, not a secret
    for _ in range(count):
        size = draw.randrange(36, 48, 2) + seed % 2
        corner = (SIDE - size) // 2
        at = (corner + draw.randint(-3, 3), corner + draw.randint(-3, 3))
        yield Drawn(draw.choice(SHAPES), draw.choice(list(COLOURS)), size, at, draw.choice(BACKGROUNDS))


def save(picture: Drawn, file: Path) -> None:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), picture.background)
    pen, fill = ImageDraw.Draw(image), COLOURS[picture.colour]
    (x, y), s = picture.at, picture.size
    if picture.shape == "circle":
        pen.ellipse((x, y, x + s, y + s), fill=fill)
    elif picture.shape == "square":
        pen.rectangle((x, y, x + s, y + s), fill=fill)
    elif picture.shape == "triangle":
        pen.polygon([(x + s // 2, y), (x, y + s), (x + s, y + s)], fill=fill)
    else:
        arm = s // 3
        pen.rectangle((x + arm, y, x + 2 * arm, y + s), fill=fill)
        pen.rectangle((x, y + arm, x + s, y + 2 * arm), fill=fill)
    image.save(file)


def conversations(name: str, count: int, seed: int, folder: Path) -> Iterator[list[dict[str, Any]]]:
    """`shapes` asks for the colour and the shape in turn, `captions` for both in a few words. Pictures are written
    below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(drawn(count, seed)):
        file = folder / picture.name
        if not file.exists():
            save(picture, file)
        if name == "captions":
            question, answer = DESCRIBE, f"a {picture.colour} {picture.shape}"
        else:
            question, answer = QUESTIONS[number % 2], (picture.colour, picture.shape)[number % 2]
        yield [
            {"role": "user", "content": [{"type": "image", "path": str(file)}, {"type": "text", "text": question}]},
            {"role": "assistant", "content": [{"type": "text", "text": answer}]},
        ]
