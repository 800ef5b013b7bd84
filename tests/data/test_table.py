from __future__ import annotations

import base64
import bz2
import csv
import gzip
import io
import json
import lzma
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainwright.core.errors import DataError, UserError
from trainwright.data import delimited
from trainwright.data.table import Table

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = st.text(st.sampled_from('ab1 ,;"\n\té'), max_size=6).map(str.strip)

NUMBERS = st.integers() | st.floats(allow_nan=False)
OBJECTS = st.fixed_dictionaries({"id": st.integers()}, optional={"a": NUMBERS, "b": st.text()})


def table(at: Path, content: str | bytes, name: str = "a.csv", **options: Any) -> Table:
    path = at / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Table(path=str(path), **options)


def rows(source: Table) -> list[list[Any]]:
    return [list(source[i].values()) for i in range(len(source))]


@quick
@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"])
)
def test_what_csv_writes_is_read_again(tmp_path: Path, cells: list[list[str]], separator: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(
        [["p", "q", "r"], *cells]
    )
    source = table(tmp_path, text.getvalue(), separator=separator, missing=("",), text=("p", "q", "r"))
    assert rows(source) == [[c or None for c in row] for row in cells]


@quick
@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=8))
def test_a_records_line_is_the_line_an_editor_shows(tmp_path: Path, cells: list[list[str]]) -> None:
    text = io.StringIO()
    writer, lines = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n"), []
    writer.writerow(["p", "q"])
    for row in cells:
        lines.append(1 + text.getvalue().count("\n"))
        writer.writerow(row)
    source = table(tmp_path, text.getvalue())
    assert [source.where(i) for i in range(len(source))] == [f"a.csv, line {n}" for n in lines]


@pytest.mark.parametrize("piece", [1, 3, 16])
def test_a_text_scanned_in_pieces_is_the_text_scanned_at_once(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'a,b\r\n"1,\n""x""",2\n\n3,"4\r\n5"\n'
    dialect = delimited.Dialect(",", '"', True, (), ".")
    whole = delimited.read(text, dialect, "a.csv")
    monkeypatch.setattr(delimited, "_PIECE", piece)
    pieces = delimited.read(text, dialect, "a.csv")
    assert (
        [c.tolist() for c in pieces[0].values()]
        == [c.tolist() for c in whole[0].values()]
        == [['1,\n"x"', "3"], ["2", "4\r\n5"]]
    )
    assert pieces[1].tolist() == whole[1].tolist() == [2, 5]


def test_numbers_whole_numbers_and_text_are_told_apart(tmp_path: Path) -> None:
    source = table(tmp_path, "i,f,t,code,big,n\n1,1,a,007,99999999999999999999,?\n-2,1e-3,2,123,1,NA\n")
    assert source[0] == {"i": 1, "f": 1.0, "t": "a", "code": "007", "big": "99999999999999999999", "n": None}
    assert source[1] == {"i": -2, "f": 0.001, "t": "2", "code": "123", "big": "1", "n": None}
    assert [type(v) for v in source[0].values()] == [int, float, str, str, str, type(None)]
    assert source.kinds() == {
        "i": "numbers",
        "f": "numbers",
        "t": "text",
        "code": "text",
        "big": "text",
        "n": "nothing",
    }


def test_usual_marks_of_missing_values_are_none(tmp_path: Path) -> None:
    source = table(tmp_path, "x,c\n1,a\n?,NA\n, \nnan,null\n2,None\n")
    assert source.values("x") == [1, None, None, None, 2]
    assert source.values("c") == ["a", None, None, None, "None"]


def test_marks_of_missing_values_can_be_named(tmp_path: Path) -> None:
    source = table(tmp_path, "x,c\n-999,?\n,NA\n3,-\n", missing=("-999", "-"))
    assert rows(source) == [[None, "?"], [None, "NA"], [3, None]]


def test_columns_can_be_kept_and_dropped(tmp_path: Path) -> None:
    text = "a,b,c\n1,2,3\n"
    assert table(tmp_path, text, columns=("c", "a"))[0] == {"a": 1, "c": 3}
    assert table(tmp_path, text, drop=("a",))[0] == {"b": 2, "c": 3}


def test_a_file_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    source = table(tmp_path, "good film\t1\nbad film\t0\n", "a.tsv", header=False)
    assert source[1] == {"column_1": "bad film", "column_2": 0}
    assert source.where(1) == "a.tsv, line 2"


def test_a_nameless_column_is_called_as_pandas_calls_it(tmp_path: Path) -> None:
    text = ",a,\n0,x,1\n"
    (tmp_path / "t.csv").write_text(text)
    assert list(table(tmp_path, text)[0]) == list(pd.read_csv(tmp_path / "t.csv"))
    assert list(table(tmp_path, ",Unnamed: 0,a\n0,1,x\n")[0]) == ["Unnamed: 0.1", "Unnamed: 0", "a"]


@pytest.mark.parametrize(
    "text", ["\ufeffä,b\n1,ö\n", "ä,b\r\n1,ö\r\n", "ä,b\n\n1,ö\n\n\n", "ä,b\n1,ö", '"ä", b \n1,ö\n']
)
def test_marks_and_ends_of_lines_do_not_matter(tmp_path: Path, text: str) -> None:
    assert rows(table(tmp_path, text)) == [[1, "ö"]]
    assert table(tmp_path, text).fields() == ["ä", "b"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_other_encodings_are_read_when_named(tmp_path: Path, encoding: str) -> None:
    assert table(tmp_path, "größe\nä\n".encode(encoding), encoding=encoding)[0] == {"größe": "ä"}


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_packed_table_is_read(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    packed, options = pack(b"a;b\n1,5;x\n"), {"separator": ";", "decimal": ","}
    assert rows(table(tmp_path, packed, f"a.csv.{suffix}", **options)) == [[1.5, "x"]]
    for damaged in (packed[:-9], b"a;b\n1,5;x\n"):
        with pytest.raises(DataError, match="cannot be read"):
            table(tmp_path, damaged, f"b.csv.{suffix}", **options)


def test_quotes_can_be_ordinary_characters(tmp_path: Path) -> None:
    source = table(tmp_path, 'a "good" film\t1\n5" long\t0\n', "a.tsv", header=False, quote="")
    assert source.values("column_1") == ['a "good" film', '5" long']


MISTAKES: list[tuple[str | bytes, dict[str, Any], str]] = [
    ("", {}, r"a\.csv: the file is empty"),
    ("\n\n", {}, r"a\.csv: the file is empty"),
    ("a,b\n", {}, r"a\.csv: the file has a header and no records"),
    ("a,b\n1,2\n1,2,3\n", {}, r"a\.csv, line 3: 3 cells where the first line has 2"),
    ("a,b\n1,2\n\n1\n", {}, r"a\.csv, line 4: 1 cell where the first line has 2"),
    ("a,b,a\n1,2,3\n", {}, r"a\.csv, line 1: two columns are named 'a'"),
    (b"a,b\n1,2\n3,\xe9\n", {}, r"a\.csv, line 3: not UTF-8 \(byte 0xe9\).*encoding"),
    (b"\xe9,b\n1,2\n", {}, r"a\.csv, line 1: not UTF-8"),
    ("a,b\n1,2\n".encode("utf-16"), {}, 'encoding = "utf-16"'),
    ('a,b\n1,"x\n2,3\n4,5\n', {}, r"a\.csv, line 2: a quote is opened and never closed"),
    ('a,b\n1,5" x\n2,3"\n', {}, r'a\.csv, line 2: a quote stands in the middle of a cell.*quote = ""'),
    ('a,b\n1,"x"y\n', {}, r"a\.csv, line 2: a quote stands in the middle"),
    ("a;b\n1;2\n", {}, r"only one column, named 'a;b', is found; write separator = \";\""),
    ("a\tb\n1\t2\n", {}, r"write separator = \"\\t\""),
    ("a,b\n1,2\n", {"columns": ("a", "bb")}, r"data\.columns: a\.csv has no column 'bb'"),
    ("a,b\n1,2\n", {"drop": ("c",)}, r"data\.drop: a\.csv has no column 'c'"),
    ("a,b\n1,2\n", {"text": ("c",)}, r"data\.text: a\.csv has no column 'c'"),
    ("a,b\n1,2\n", {"drop": ("a", "b")}, r"data\.drop: no column is left"),
    ("a,b\n1,2\n", {"separator": ",,"}, r"data\.separator: ',,' cannot"),
    ("a,b\n1,2\n", {"separator": '"'}, r"data\.separator"),
    ("a,b\n1,2\n", {"quote": "''"}, r"data\.quote"),
    ("a,b\n1,2\n", {"decimal": ","}, r"data\.decimal: ',' also separates"),
    ("a,b\n1,2\n", {"encoding": "utf-9"}, r"data\.encoding: no encoding is named 'utf-9'"),
]


@pytest.mark.parametrize(("text", "options", "message"), MISTAKES)
def test_a_mistake_gives_one_message(tmp_path: Path, text: str | bytes, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(tmp_path, text, **options)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        Table(path=str(tmp_path))
    with pytest.raises(DataError, match="separator"):
        table(tmp_path, "a b\n", "a.dat")
    with pytest.raises(DataError, match=r"a\.csv\.gz: cannot be read"):
        table(tmp_path, b"plain text", "a.csv.gz")
    with pytest.raises(DataError, match=r"a\.parquet: is not a Parquet file"):
        table(tmp_path, b"plain text", "a.parquet")


# a table of integers whose page of validity asks for 2^61 bytes, found by benchmarks/fuzz.py; packed
ENDLESS = (
    "eNrNVs1vE0cU312vP2ICdRzealfaSlalrBY1Co6bEBsF4nFS0oAB23xU9Lb22iQQYhSbz/aQY5UTqnriUKGKC67EX9ADh3JBETduiBPlWPXSHjj1"
    "vdnntRURiYhLR+P5zft+++bNyBVRmwYdnmk4y+CCMhgqo8YYYdQZo4wxxjhjgnGEMcl4gHGU8SDjIcbPGFMcdYzpNOM4IygwBVOToEIKYhCzjylu"
    "oi8zE0MfQIm7ajSe+VFsF9wnzx9+n32BSYFuzSqx1Ocm2mmhnRqaGc/GwTR+T4PqgWK4xpsITued5iT2DIUp7Wg4J6mCYVKX5LCKoeZWmFTfMFB5"
    "tRDgnwsB92+m/1n4rdfb7vXeM18pIo1DKwbyaJErzvwk8w8yP8X0GMvTzD/MfGC+wXyz2E8ZktaEErNMtS5L8GsEp7Ojz+/1WdhCLrhlSAA3jkdL"
    "nZYGLT6WxQab6hMemuqbqhdWRIu/paHAqDwdDN2QoX9WcToPRpyXiSEjdPcoinMSKkMF/9BpyvY8EJQNd5XI7rYeorc+1Pb7pfc/PjXi/53GC0fN"
    "lFd9fX2t040315s3mhtdPN6K8W8Up/M0Ob/X+VljmjW4argdPAOWsUu8hduwgwdi1cOfP6yvDtxp/Gax2DbeabClGorc7+iArR/sH4xAjbdPk4B5"
    "Uw6a9cM3+ma73QX0oE9o1JyQJKxjJxM2JpSyjaqzGuWgQaw8T5RuylqAFpj1a4Idb9lW2fkjZvMzRel/7DNkvE/jy/XLGJxUnL/i9n4vsfETPXyv"
    "pfnjpP1xN9HojYNhPEzDF2iUsj/prMOX96RibB8yXCeBcJhKbo6KWu38t8c7jdXmDc98FDlK495MSQjxNf5E/jbSd6sioCXrjBAdsSixKr6soPzO"
    "HeKvCHGV9Uh/MU/ENVqWhej7q5J+lvRLkl4MRJeJIfrLqfuolL8aGgV+SwGQ/CLKC8G+2l9KN/3ly13JO3eN7KWr72g5LenGbn+n2J2oyHhB3uRq"
    "+SwuS4JKsRImJVaCeGfZaOkYydEVft0VUpFaV8j1eelvJjQqDfLHIBcoCGKN82CHS1nyVx2UCk2vk9OVgC6tCnHihGKeq7TXvc1Oxr15r7va3jiS"
    "ud3c7Ky1NzK5qempbMat31pb9zNzrUI2V/e/arX83Fyrlc/50zO5ubyXLXi5wmyrlWvNeU2/kDti0S0Kp3If/41U8L/Lf2+yRJM="
)


def test_a_parquet_file_that_ends_its_reader_is_damaged(tmp_path: Path) -> None:
    data = zlib.decompress(base64.b64decode(ENDLESS))
    (tmp_path / "b.parquet").write_bytes(data)
    program = f"import polars; polars.read_parquet({str(tmp_path / 'b.parquet')!r})"
    if subprocess.run([sys.executable, "-c", program], capture_output=True).returncode > 0:
        pytest.skip("this polars raises an error")
    with pytest.raises(DataError, match=r"a\.parquet: is a damaged Parquet file: its reader was ended by it; write it"):
        table(tmp_path, data, "a.parquet")


def test_a_parquet_file_has_python_values(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "i": [1, None],
            "f": [1.5, float("nan")],
            "b": [None, True],
            "d": [date(2020, 1, 2), None],
            "t": [datetime(2020, 1, 2, 3), None],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
            "l": [[1, 2], None],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    source = Table(path=str(tmp_path / "a.parquet"))
    assert source[0] == {
        "i": 1,
        "f": 1.5,
        "b": None,
        "d": "2020-01-02",
        "t": "2020-01-02T03:00:00",
        "c": "x",
        "l": [1, 2],
    }
    assert list(source[1].values()) == [None, None, True, None, None, "y", None]
    assert source.where(1) == "a.parquet, row 2"


@quick
@given(st.lists(OBJECTS, min_size=1))
def test_json_lines_are_read_as_json_reads_them(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    text = "\n\n".join(json.dumps(r) for r in records)
    source = table(tmp_path, text, "a.jsonl")
    keys = list(dict.fromkeys(k for r in records for k in r))
    assert rows(source) == [[r.get(k) for k in keys] for r in records]
    assert source.where(len(source) - 1) == f"a.jsonl, line {2 * len(records) - 1}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ('{"a": 1}\n{"a": \n', r"a\.jsonl, line 2: not JSON"),
        ('{"a": 1}\n[1]\n', r"a\.jsonl, line 2: list where an object"),
        ('{"a": 1}\n{"a": "x"}\n', r"a\.jsonl, line 2: 'a' is 'x' here and 1 on line 1"),
        ('{"a": true}\n\n{"a": 1}\n', r"a\.jsonl, line 3: 'a' is 1 here and True on line 1"),
        (b'{"a": "\xe9"}\n', r"a\.jsonl, line 1: not UTF-8"),
    ],
)
def test_a_mistake_in_json_lines_names_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(tmp_path, text, "a.jsonl")


@pytest.mark.parametrize(
    "option", [{"separator": ";"}, {"header": False}, {"quote": "'"}, {"decimal": ","}, {"text": ("a",)}]
)
def test_an_option_that_says_nothing_about_the_file_is_refused(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"data.{next(iter(option))}: says nothing about a .jsonl file"):
        table(tmp_path, '{"a": 1}', "a.jsonl", **option)


def test_numbers_beyond_64_bits_in_json_are_kept(tmp_path: Path) -> None:
    assert table(tmp_path, '{"a": 100000000000000000000}', "a.jsonl")[0] == {"a": 10**20}


REAL = [
    ("adult/adult_train.csv", 32561, 15, 1836 + 1843 + 583, "income", 24720),
    ("adult/adult_test.csv", 16281, 15, 963 + 966 + 274, "income", 12435),
    ("california_housing/housing.csv", 20640, 10, 207, "ocean_proximity", None),
    ("titanic/train.csv", 891, 12, 866, "Survived", 549),
    ("telco_churn/telco-customer-churn-by-IBM.csv", 7043, 21, 11, "Churn", 5174),
    ("wine_quality/winequality-red.csv", 1599, 12, 0, "quality", None),
    ("wine_quality/winequality-white.csv", 4898, 12, 0, "quality", None),
]


@pytest.mark.data
@pytest.mark.parametrize(("path", "records", "columns", "missing", "target", "first"), REAL)
def test_real_tables_have_the_published_counts(
    real_data: Path, path: str, records: int, columns: int, missing: int, target: str, first: int | None
) -> None:
    source = Table(path=str(real_data / path))
    assert (len(source), len(source.fields())) == (records, columns)
    assert sum(v is None for row in rows(source) for v in row) == missing
    values = source.values(target)
    assert first is None or values.count(min(values)) == first
    assert source.where(records - 1) == f"{Path(path).name}, line {records + 1}"


@pytest.mark.data
def test_a_byte_order_mark_is_no_part_of_a_name(real_data: Path) -> None:
    red, white = (Table(path=str(real_data / f"wine_quality/winequality-{c}.csv")) for c in ("red", "white"))
    assert red.fields() == white.fields()
    assert red.fields()[0] == "fixed acidity"


@pytest.mark.parametrize(
    ("cells", "options", "read_as"),
    [
        (['"1,200"', '"950"', '"1,000,000.5"'], {}, [1200.0, 950.0, 1000000.5]),
        (['"1,200"', '"x"', "3"], {}, ["1,200", "x", "3"]),
        (['"1,20"', '"3,5"', "3"], {}, ["1,20", "3,5", "3"]),
        (["1.200,5", "950", "1.000.000"], {"decimal": ",", "separator": ";"}, [1200.5, 950.0, 1000000.0]),
        (["1,5", "2,25", "3"], {"decimal": ",", "separator": ";"}, [1.5, 2.25, 3.0]),
        (["1.5", "2.25", "3"], {"decimal": ",", "separator": ";"}, [1.5, 2.25, 3.0]),
    ],
)
def test_marks_between_thousands_do_not_count(
    tmp_path: Path, cells: list[str], options: dict[str, Any], read_as: list[Any]
) -> None:
    mark = options.get("separator", ",")
    source = table(tmp_path, f"x{mark}y\n" + "".join(f"{c}{mark}1\n" for c in cells), **options)
    assert source.values("x") == read_as


def test_columns_without_a_header_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "reviews.tsv"
    path.write_text('a "good" film\t1\n42\t0\n')
    source = Table(path=str(path), names=("text", "label"), text=("text",), quote="")
    assert [source[i] for i in range(2)] == [{"text": 'a "good" film', "label": 1}, {"text": "42", "label": 0}]
    with pytest.raises(DataError, match=r"data\.names: 1 names for the 2 columns of reviews\.tsv"):
        Table(path=str(path), names=("text",), quote="")
    with pytest.raises(UserError, match=r"data\.names"):
        Table(path=str(path), names=("text", "text"), quote="")
