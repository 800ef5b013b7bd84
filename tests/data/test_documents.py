"""Plain texts as a stream: the pieces are the files to the letter, and what is no text is told of."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.errors import DataError
from trainwright.data.documents import Documents, pieces
from trainwright.data.topics import Topics


def whole(source: Documents | Topics) -> str:
    return "".join(source[i]["text"] + ("<END>" if source[i]["end"] else "") for i in range(len(source)))


@given(st.text(st.sampled_from("abé漢😀 \n"), max_size=400), st.integers(1, 20))
def test_pieces_are_the_text_and_each_is_text(text: str, least: int) -> None:
    raw = text.encode()
    cuts = pieces(raw, least).tolist()
    found = [raw[a:b].decode() for a, b in pairwise(cuts)]
    assert "".join(found) == text
    assert all(len(p.encode()) >= least for p in found[:-1])
    assert max((len(p.encode()) for p in found), default=0) <= 16 * least + least + 8


def test_a_file_is_read_in_pieces_that_end_with_lines(tmp_path: Path) -> None:
    text = "".join(f"line {i} of a long text\n" for i in range(200))
    (tmp_path / "a.txt").write_text(text)
    source = Documents(path=str(tmp_path / "a.txt"))
    assert whole(source) == text
    assert len(source) > 10
    assert all(source[i]["text"].endswith("\n") for i in range(len(source)))
    assert source.where(1) == f"a.txt, bytes {len(source[0]['text'])} to {len(source[0]['text'] + source[1]['text'])}"


def test_a_folder_is_its_texts_in_order_with_an_end_between_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, text in {
        "b.txt": "bee",
        "a.md": "ay\r\nè",
        "sub/c.txt": "\ufeffsea",
        "no.bin": "x",
        ".h.txt": "h",
    }.items():
        (tmp_path / name).write_bytes(text.encode())
    (tmp_path / "empty.txt").write_text("")
    assert whole(Documents(path=str(tmp_path))) == "ay\nè<END>bee<END>sea"


def test_files_named_after_parts_are_parts(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name} text\n" * 50)
    source = Documents(path=str(tmp_path))
    parts = source.parts()
    assert {n: "".join(source[i]["text"] for i in ids)[:5] for n, ids in parts.items()} == {
        "train": "train",
        "valid": "valid",
        "test": "test ",
    }
    (tmp_path / "more.txt").write_text("more")
    assert Documents(path=str(tmp_path)).parts() == {}


def test_other_encodings_are_read_where_they_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(("café\n" * 100).encode("latin-1"))
    assert whole(Documents(path=str(file), encoding="latin-1")) == "café\n" * 100
    with pytest.raises(DataError, match=r"a\.txt: byte 3 is no UTF-8.*latin-1"):
        whole(Documents(path=str(file)))
    file.write_bytes(("café\n" * 100).encode("utf-16"))
    assert whole(Documents(path=str(file), encoding="utf-16")) == "café\n" * 100
    with pytest.raises(DataError, match="utf-16"):
        Documents(path=str(file))
    with pytest.raises(DataError, match="no encoding that Python knows"):
        Documents(path=str(file), encoding="latin-99")
    with pytest.raises(DataError, match="is not in the encoding utf-32"):
        Documents(path=str(file), encoding="utf-32")


def test_what_holds_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no text file"):
        Documents(path=str(tmp_path))
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="holds no text"):
        Documents(path=str(tmp_path))


def test_a_changed_letter_changes_the_fingerprint(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("some text\n")
    before = Documents(path=str(file)).fingerprint()
    assert Documents(path=str(file)).fingerprint() == before
    file.write_text("some Text\n")
    assert Documents(path=str(file)).fingerprint() != before


def test_pythons_topics_are_whole() -> None:
    from pydoc_data.topics import topics

    assert whole(Topics()) == "<END>".join(topics[name] for name in sorted(topics))
