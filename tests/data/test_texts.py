"""Texts in files: per file and per line, with and without classes, in any encoding, whole and broken."""

from __future__ import annotations

import gzip
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwright.core.errors import DataError, UserError
from trainwright.data.parallel import Parallel
from trainwright.data.texts import Texts

CLASSES = {"neg/1.txt": "bad", "neg/deep/2.txt": "dull\nplot", "pos/1.txt": "fine"}
PARTS = {"train/neg/1.txt": "bad", "train/pos/1.txt": "good", "val/pos/2.txt": "fine", "test/neg/3.txt": "dull"}


def written(at: Path, files: dict[str, str | bytes], how: str = "folder") -> str:
    if how == "zip":
        with zipfile.ZipFile(at / "texts.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, text in files.items():
                file.writestr(name, text)
        return str(at / "texts.zip")
    for name, text in files.items():
        (at / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (at / "texts" / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return str(at / "texts")


def records(source: Any) -> list[dict[str, Any]]:
    return [dict(source[i]) for i in range(len(source))]


both = pytest.mark.parametrize("how", ["folder", "zip"])


@both
@pytest.mark.parametrize("outer", ["", "around/"])
def test_a_folder_per_class_gives_labelled_texts(tmp_path: Path, how: str, outer: str) -> None:
    source = Texts(path=written(tmp_path, {outer + n: t for n, t in CLASSES.items()} | {"notes.md": "x"}, how))
    assert [(r["text"], r["label"], r["path"]) for r in records(source)] == [
        ("bad", "neg", f"{outer}neg/1.txt"),
        ("dull\nplot", "neg", f"{outer}neg/deep/2.txt"),
        ("fine", "pos", f"{outer}pos/1.txt"),
    ]
    assert source.values("label") == ["neg", "neg", "pos"]
    assert source.values("text") == [r["text"] for r in records(source)]
    assert source.parts() == {}
    assert source.where(1) == f"texts{'.zip' if how == 'zip' else ''}/{outer}neg/deep/2.txt"
    assert source.skipped == {"not named .txt": 1}


@both
def test_folders_of_parts_become_parts(tmp_path: Path, how: str) -> None:
    source = Texts(path=written(tmp_path, dict(PARTS), how))
    assert source.parts() == {"train": range(2), "valid": range(2, 3), "test": range(3, 4)}
    assert source.values("label") == ["neg", "pos", "pos", "neg"]


def test_lines_of_parts_become_parts_too(tmp_path: Path) -> None:
    files = {name: f"{text} one\n\n{text} two\n" for name, text in PARTS.items()}
    source = Texts(path=written(tmp_path, dict(files)), per="line")
    assert source.parts() == {"train": range(4), "valid": range(4, 6), "test": range(6, 8)}
    assert source.values("label") == ["neg", "neg", "pos", "pos", "pos", "pos", "neg", "neg"]
    assert source.where(1) == "1.txt, line 3"
    assert source.skipped == {"blank lines": 4}
    assert records(source)[1]["text"] == "bad two"


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": "one", "b.txt": "two"},
        {"a.txt": "one", "only/b.txt": "two"},
        {"only/a.txt": "one", "only/b.txt": "two"},
    ],
)
def test_files_without_classes_are_documents(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    source = Texts(path=written(tmp_path, files))
    assert records(source) == [{"text": text, "path": name} for name, text in files.items()]
    assert source.fields() == ["text", "path"]
    with pytest.raises(DataError, match="no field is named 'label'"):
        source.values("label")


def test_documents_keep_their_parts_and_folders_of_topics_are_no_classes_where_told(tmp_path: Path) -> None:
    path = written(tmp_path, {"train/a.txt": "one", "train/b.txt": "two", "test/c.txt": "three"})
    assert Texts(path=path).parts() == {"train": range(2), "test": range(2, 3)}
    topics = written(tmp_path / "more", {"art/1.txt": "x", "law/1.txt": "y"})
    assert Texts(path=topics).fields() == ["text", "label", "path"]
    assert Texts(path=topics, labels="none").fields() == ["text", "path"]
    with pytest.raises(DataError, match="no folder of a class"):
        Texts(path=written(tmp_path / "loose", {"a.txt": "x"}), labels="folders")


def test_a_single_file_is_a_document_or_lines(tmp_path: Path) -> None:
    path = written(tmp_path, {"play.log": "First.\r\n\r\nSecond."}) + "/play.log"
    assert records(Texts(path=path)) == [{"text": "First.\r\n\r\nSecond.", "path": "play.log"}]
    lines = Texts(path=path, per="line")
    assert [r["text"] for r in records(lines)] == ["First.", "Second."]
    assert lines.where(1) == "play.log, line 3"


def test_a_file_per_class_gives_a_text_per_line(tmp_path: Path) -> None:
    path = written(tmp_path, {"rt.pos": "fine\ngood\n", "rt.neg": "bad\n\n"})
    source = Texts(path=path, classes={"pos": "rt.pos", "neg": "rt.neg"})
    assert [(r["text"], r["label"]) for r in records(source)] == [("bad", "neg"), ("fine", "pos"), ("good", "pos")]
    with pytest.raises(DataError, match=r"data\.classes\.pos.*did you mean 'rt\.pos'"):
        Texts(path=path, classes={"pos": "rt.poss", "neg": "rt.neg"})
    with pytest.raises(DataError, match=r"holds no file"):
        Texts(path=path, classes={"pos": "../texts/rt.pos", "neg": "rt.neg"})
    with pytest.raises(UserError, match=r"fewer than two"):
        Texts(path=path, classes={"pos": "rt.pos"})
    with pytest.raises(UserError, match=r"data\.per"):
        Texts(path=path, classes={"pos": "rt.pos", "neg": "rt.neg"}, per="file")


def test_a_text_in_another_encoding_is_one_bad_record(tmp_path: Path) -> None:
    path = written(tmp_path, {"a/1.txt": "gut", "a/2.txt": "schön".encode("latin-1"), "b/1.txt": b"\xef\xbb\xbfja"})
    source = Texts(path=path)
    assert (source[0]["text"], source[2]["text"]) == ("gut", "ja")
    with pytest.raises(DataError, match=r"texts/a/2\.txt: not UTF-8 \(byte 3, 0xf6\).*encoding"):
        source[1]
    assert Texts(path=path, encoding="latin-1")[1]["text"] == "schön"


def test_a_line_in_another_encoding_is_one_bad_record(tmp_path: Path) -> None:
    path = written(tmp_path, {"a.txt": b"one" + bytes([10, 255, 10]) + b"three"}) + "/a.txt"
    source = Texts(path=path, per="line")
    assert (source[0]["text"], source[2]["text"]) == ("one", "three")
    with pytest.raises(DataError, match=r"a\.txt, line 2: not UTF-8"):
        source[1]


def test_wide_encodings_are_told_of_and_read(tmp_path: Path) -> None:
    path = written(tmp_path, {"a.txt": "eins\nzwei".encode("utf-16")}) + "/a.txt"
    with pytest.raises(DataError, match=r'encoding = "utf-16"'):
        Texts(path=path)[0]
    assert [r["text"] for r in records(Texts(path=path, per="line", encoding="utf-16"))] == ["eins", "zwei"]
    with pytest.raises(UserError, match="no encoding is named 'utf-99'"):
        Texts(path=path, encoding="utf-99")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.md": "x"}, r"holds no files named \.txt \(1 not named \.txt\)"),
        ({"train/a/1.txt": "x", "train/b/1.txt": "x", "test/c/1.txt": "x"}, "a class 'c' that the train part has not"),
        ({"a.txt": ""}, ""),
    ],
)
def test_what_cannot_be_read_is_one_message(tmp_path: Path, files: dict[str, str | bytes], said: str) -> None:
    path = written(tmp_path, files)
    if said:
        with pytest.raises(DataError, match=said):
            Texts(path=path)
    else:
        with pytest.raises(DataError, match="holds no text"):
            Texts(path=path, per="line")
        assert Texts(path=path)[0]["text"] == ""


def test_content_and_options_change_the_fingerprint(tmp_path: Path) -> None:
    path = written(tmp_path, dict(CLASSES))
    seen = {Texts(path=path).fingerprint(), Texts(path=path, labels="none").fingerprint()}
    seen.add(Texts(path=path, per="line").fingerprint())
    assert Texts(path=path).fingerprint() in seen
    (tmp_path / "texts/pos/1.txt").write_text("Fine")
    seen.add(Texts(path=path).fingerprint())
    assert len(seen) == 4


def pair(at: Path, german: str, english: str, packed: bool = False) -> str:
    at.mkdir(exist_ok=True)
    for language, text in (("de", german), ("en", english)):
        file = at / f"train.{language}{'.gz' if packed else ''}"
        file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return str(at / f"train.de{'.gz' if packed else ''}")


@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_two_files_belong_together(tmp_path: Path, packed: bool) -> None:
    path = pair(tmp_path, "Ein Hund.\nJa.\n", "A dog.\nYes.", packed)
    source = Parallel(path=path, languages=("de", "en"))
    assert records(source) == [{"source": "Ein Hund.", "target": "A dog."}, {"source": "Ja.", "target": "Yes."}]
    assert source.values("target") == ["A dog.", "Yes."]
    assert source.where(1) == f"{Path(path).name} and {source.other.name}, line 2"
    turned = Parallel(path=path.replace(".de", ".en"), languages=("en", "de"))
    assert turned[0] == {"source": "A dog.", "target": "Ein Hund."}
    assert turned.fingerprint() != source.fingerprint()


def test_two_files_of_unequal_length_are_refused_with_both_lengths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.de has 2 lines, and train\.en 1"):
        Parallel(path=pair(tmp_path, "a\nb\n", "a\n"), languages=("de", "en"))


def test_a_blank_line_keeps_its_place_so_that_pairs_stay_together(tmp_path: Path) -> None:
    source = Parallel(path=pair(tmp_path, "a\n\nc\n", "x\ny\nz\n"), languages=("de", "en"))
    assert records(source) == [{"source": s, "target": t} for s, t in (("a", "x"), ("", "y"), ("c", "z"))]


def test_a_partner_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    path = pair(tmp_path, "a", "b")
    with pytest.raises(UserError, match=r"'fr' and 'en' do not go with train\.de"):
        Parallel(path=path, languages=("fr", "en"))
    with pytest.raises(DataError, match=r"train\.fr is not beside train\.de"):
        Parallel(path=path, languages=("de", "fr"))
    with pytest.raises(DataError, match="are empty"):
        Parallel(path=pair(tmp_path / "empty", "", ""), languages=("de", "en"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80), encoding=st.sampled_from(["utf-8", "latin-1", "utf-16", "cp1252", "shift_jis"]))
def test_any_bytes_are_texts_or_one_message(tmp_path: Path, data: bytes, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    for per in ("file", "line"):
        try:
            source = Texts(path=str(tmp_path / "a.txt"), per=per, encoding=encoding)  # type: ignore[arg-type]
        except DataError:
            continue
        for i in range(len(source)):
            with suppress(DataError):
                assert isinstance(source[i]["text"], str)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))), min_size=1, max_size=8))
def test_lines_are_those_that_python_reads(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a.de").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\r\n")
    (tmp_path / "a.en").write_text("\n".join(lines), encoding="utf-8", newline="\n")
    if lines[-1]:  # without a line end behind it, an empty last line is none
        source = Parallel(path=str(tmp_path / "a.de"), languages=("de", "en"))
        bare = [line.removeprefix("\ufeff") if i == 0 else line for i, line in enumerate(lines)]
        assert source.values("source") == source.values("target") == [line.strip() for line in bare]
