"""A place in a text file is the line that an editor shows, whichever check names it."""

import codecs
import re

import pyarrow as pa
import pytest
from data_makers import job_folder, messages, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

ROWS = 40
HEAD = """format = "table"
[table]
file = "data.csv"
target = "kind"
key = "id"
categorical = ["colour"]
numeric = ["mass"]
ignore = ["remark"]
"""
NAMES = ["id", "remark", "mass", "colour", "kind"]
END = re.compile("\r\n|\n|\r")


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


@st.composite
def layouts(draw):
    """Remarks with quotation marks and line breaks inside, empty lines between rows, all kinds of line ends."""
    remark = st.text("a,\"'\n\r;", max_size=4)
    return {
        "remarks": draw(st.lists(remark, min_size=ROWS, max_size=ROWS)),
        "empty": draw(st.lists(st.sampled_from([0, 0, 0, 0, 1, 2]), min_size=ROWS + 2, max_size=ROWS + 2)),
        "end": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "start": draw(st.sampled_from([b"", codecs.BOM_UTF8])),
        "first_line": draw(st.sampled_from(["", "sep=,"])),
        "at": draw(st.integers(2, ROWS - 2)),
    }


def written(layout, spoil):
    """The bytes of a table with one malformed row, and the line on which an editor shows the row."""
    end, empty = layout["end"], layout["empty"]
    text = layout["first_line"] + end if layout["first_line"] else ""
    text += end * empty[-1] + ",".join(NAMES) + end * (1 + empty[-2])
    place = 0
    for i in range(ROWS):
        row = [str(i), quoted(layout["remarks"][i]), f"{i}.5", ("red", "green")[i % 2], ("cat", "dog")[i // 2 % 2]]
        if i == layout["at"]:
            place = 1 + len(END.findall(text))
            row = spoil(row)
        text += ",".join(row) + end * (1 + empty[i])
    return layout["start"] + text.encode("utf-8", "surrogateescape"), place


def changed(**values):
    return lambda row: [values.get(name, value) for name, value in zip(NAMES, row, strict=True)]


MALFORMED = {
    "no label": (changed(kind=""), "data.csv {} has no 'kind'"),
    "no number": (changed(mass=""), "'mass' is missing in 1 rows, the first: data.csv {}\""),
    "infinity": (changed(mass="inf"), 'holds infinity in data.csv {}"'),
    "a word": (changed(mass="heavy"), "holds text like 'xxxxx' in 1 row (e.g. data.csv {})"),
    "a long text": (changed(colour="x" * 10_001), 'holds 10,001 characters in data.csv {}"'),
    "no key": (changed(id=""), "data.csv {} has no 'id'"),
    "the same key": (changed(id="0"), 'and in data.csv {}"'),
    "another spelling": (changed(colour="red "), "another one (1 sample, the first: data.csv {})"),
    "another class": (changed(kind="cat "), "'cat ' (1 sample, the first: data.csv {})"),
    "a field too many": (lambda row: [*row, "1"], "has 6 fields in {}, but"),
    "a field too few": (lambda row: row[:-1], "has 4 fields in {}, but"),
    "names once more": (lambda _: NAMES, 'repeats the names of its columns in {}"'),
    "no UTF-8": (changed(id="\udcff"), 'is not UTF-8 in {}"'),
    "a zero byte": (changed(id="\0"), "holds a zero byte in {}:"),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = job_folder(tmp_path_factory.mktemp("lines"))
    (folder / "dataset.toml").write_text(HEAD)
    return folder


@pytest.mark.parametrize(("spoil", "message"), MALFORMED.values(), ids=MALFORMED)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_a_row_is_called_by_the_line_on_which_it_begins(dataset, spoil, message, layout):
    data, place = written(layout, spoil)
    (dataset / "data.csv").write_bytes(data)
    said = messages(run(dataset)).replace("\\n", "\n")
    assert message.format(f"line {place}") in said, (data, said)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts())
def test_a_quotation_mark_that_is_not_closed_is_in_the_line_on_which_the_row_begins(dataset, layout):
    data, place = written(layout | {"at": ROWS - 1}, changed(kind='"cat'))
    (dataset / "data.csv").write_bytes(data.rstrip(b"\r\n") if layout["at"] % 2 else data)  # cut off, or closed never
    assert f"data.csv has a quotation mark in line {place} that is not closed" in messages(run(dataset))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
def test_lines_are_those_of_the_file_in_any_encoding(dataset, encoding):
    lines = [",".join(NAMES), *(f"{i},\xe9,{i}.5,red,{('cat', 'dog')[i % 2]}" for i in range(ROWS))]
    lines[17] = lines[17].rpartition(",")[0] + ","
    (dataset / "data.csv").write_bytes("\r\n".join(lines).encode(encoding))
    (dataset / "dataset.toml").write_text(f'{HEAD}encoding = "{encoding}"\n')
    assert "data.csv line 18 has no 'kind'" in messages(run(dataset))
    (dataset / "dataset.toml").write_text(HEAD)


def test_a_row_of_parquet_is_called_by_its_index_as_pandas_counts(dataset):
    columns = {"mass": [i / 2 for i in range(ROWS)], "kind": [None if i == 7 else "ab"[i % 2] for i in range(ROWS)]}
    parquet.write_table(pa.table(columns), dataset / "data.parquet")
    (dataset / "dataset.toml").write_text('format = "table"\n[table]\nfile = "data.parquet"\ntarget = "kind"\n')
    assert "data.parquet row index 7 has no 'kind'" in messages(run(dataset))
    (dataset / "dataset.toml").write_text(HEAD)
