"""Lines that are comments are passed over, and every other line is what and where it was; a quoted field keeps its lines."""

import csv
import io
import re
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset_toml import Table
from training.data.table import csv_file
from training.data.table.comments import Comments
from training.data.table.csv_stream import CsvStream
from training.data.table.dialect import Dialect

FIELDS = st.text("ab#\"' \n,", max_size=5)
LAYOUTS = st.lists(st.one_of(st.tuples(FIELDS, FIELDS), st.text('a#",', max_size=4)), min_size=1, max_size=12)
"""Rows, and the texts of comments between them."""


def written(layout, quote, end):
    """A file with these rows and comments, the rows, and the line on which each begins."""
    text, rows, begins = "# made today" + end + "x,y" + end, [], []
    for each in layout:
        if isinstance(each, str):
            text += f"# {each}".replace("\n", "") + end
            continue
        line = io.StringIO(newline="")
        quoting = csv.QUOTE_ALL if quote else csv.QUOTE_NONE
        row = each if quote else tuple(re.sub("[#,\n]", "b", field) + "a" for field in each)
        csv.writer(line, quotechar=quote or None, quoting=quoting, lineterminator="").writerow(row)
        rows.append(row)
        begins.append(1 + len(re.findall("\r\n|\n|\r", text)))
        text += line.getvalue() + end
    return text, rows, begins


@given(layout=LAYOUTS, quote=st.sampled_from(['"', "'", ""]), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_rows_are_the_same_with_comments_between_them_in_any_quotation_marks(tmp_path_factory, layout, quote, end):
    text, rows, begins = written(layout, quote, end)
    path = tmp_path_factory.mktemp("table") / "data.csv"
    path.write_bytes(text.encode())
    table = Table(("*",), "x", quote=quote, comment="#")
    found = csv_file.read(path, table)
    whole = list(zip(*(column.to_pylist() for column in found.rows.columns), strict=True))
    kept = len(whole)  # empty rows at the end are left out
    assert whole == rows[:kept]
    assert not any(field.strip() for row in rows[kept:] for field in row)
    assert found.lines.tolist()[:kept] == begins[:kept]
    streamed = CsvStream(path, table, "data.csv")
    pieces = [piece[2] for piece in streamed.pieces()]
    assert [row for each in pieces for row in zip(*(c.to_pylist() for c in each.columns), strict=True)] == rows
    assert streamed.dialect == found.dialect


@given(text=st.text('ab#"\n\r,', max_size=60).map(str.encode), cuts=st.lists(st.integers(0, 60)))
def test_a_text_in_pieces_is_emptied_as_the_whole_is(text, cuts):
    edges = [0, *sorted(min(each, len(text)) for each in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges) if a < b]
    in_pieces, whole = Comments("#", '"'), Comments("#", '"')
    assert b"".join(map(in_pieces.next, [*pieces, b""])) == whole.emptied(text)
    assert in_pieces.count == whole.count


def test_blanks_may_be_before_a_comment_and_a_mark_inside_a_line_is_a_value():
    found = Comments("//", '"')
    assert found.emptied(b"a,b\n \t// one\n1,//2\n//\n") == b"a,b\n\n1,//2\n\n"
    assert found.count == 2


def test_a_field_that_looks_like_a_comment_is_written_in_quotation_marks(tmp_path):
    dialect = Dialect(",", "utf-8", comment="#")
    path = tmp_path / "a.csv"
    path.write_text('x,y\n"#1",2\n#1,2\n3,"#4"\n')
    found = csv_file.read(path, Table(("*",), "x", comment="#"))
    csv_file.write(found.rows, dialect, path)
    assert path.read_text() == 'x,y\n"#1","2"\n3,#4\n'
    assert csv_file.read(path, Table(("*",), "x", comment="#")).rows == found.rows


def test_what_cannot_be_written_without_quotation_marks_is_refused():
    found = pa.table({"x": ["a,b"], "y": [""]})
    with pytest.raises(csv_file.Unreadable, match="cannot hold a field with ',' or a line break"):
        csv_file.text(found, Dialect(",", "utf-8", quote=""))
