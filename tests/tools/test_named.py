"""Recordings whose names say what they are."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

import trainwright as tw
from trainwright.core.errors import DataError
from trainwright.data.source import source_of
from trainwright.tools.named import label_pattern
from trainwright.tools.new import new

DIGITS = [f"{digit}_{who}_{take}" for digit, who, take in product("01", ["ann", "bob"], range(5))]


@pytest.mark.parametrize(
    ("stems", "pattern"),
    [
        (DIGITS, "{label}_{piece2}_{piece3}"),
        ([s.replace("_", "-") for s in DIGITS], "{label}-{piece2}-{piece3}"),
        ([f"{i:03}_{c}" for i in range(40) for c in ("cat", "dog")][::3], "{piece1}_{label}"),
        ([f"take{i}" for i in range(20)], None),  # nothing is cut
        ([f"{i}_{i}" for i in range(20)], None),  # every piece is another
        (["_".join(bits) for bits in product("01", repeat=4)], None),  # a text, spelled
        ([*DIGITS, "notes"], None),  # one name is cut otherwise
        (DIGITS[:3], None),  # one class
    ],
)
def test_the_piece_that_may_be_a_class_is_found(stems: list[str], pattern: str | None) -> None:
    assert label_pattern(stems) == pattern


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    place = tmp_path / "said" / "all"
    place.mkdir(parents=True)
    for stem in DIGITS:
        soundfile.write(place / f"{stem}.wav", np.sin(np.arange(800) * (0.1 + 0.2 * int(stem[0]))), 8000)
    return place.parent


def test_new_takes_the_classes_from_the_names_and_says_so(recordings: Path, tmp_path: Path) -> None:
    made = new(str(recordings), out=tmp_path / "said.toml")
    text = made.recipe.read_text()
    assert 'pattern = "{label}_{piece2}_{piece3}"' in text
    assert any("of '0_ann_0' the class is taken to be '0'" in said for said in made.unsure)
    run = tw.train(made.recipe, {"budget": "2 steps", "doctor": "off"}, out=tmp_path / "run", quiet=True)
    assert run.manifest["data"]["records"] == 20


def test_where_names_are_not_cut_the_pattern_is_told(recordings: Path) -> None:
    with pytest.raises(DataError, match=r"has one class only, 'all'; .*write data.pattern, such as"):
        source_of("audio", {"path": str(recordings)})
