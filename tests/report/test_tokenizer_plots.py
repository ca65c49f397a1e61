"""Figures of a comparison of tokenizers: drawn whole, and the same again."""

from __future__ import annotations

from pathlib import Path

from runner.report.tokenizer_plots import draw

ROWS = [
    {"algorithm": a, "vocab_size": v, "text": t, "tokens_per_word": 1.5, "characters_per_token": v / 1000,
     "unknown_rate": 0.5 if a == "wordpiece" else 0.0, "round_trip": 1.0}
    for a in ("byte-bpe", "wordpiece", "unigram") for v in (1000, 4000) for t in ("English", "numbers")
]  # fmt: skip


def test_drawn_twice_is_drawn_alike(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    files = draw(ROWS, tmp_path)
    assert [f.name for f in files] == ["fertility.png", "fertility.svg", "sizes.png", "sizes.svg"]
    for file, again in zip(files, draw(ROWS, tmp_path / "again"), strict=True):
        assert file.read_bytes() == again.read_bytes()
        assert file.stat().st_size > 5000
