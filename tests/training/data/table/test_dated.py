"""Columns of dates: what each part of one is, in text files, Parquet and workbooks; and what is said of a text that is not a date."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import openpyxl
import pyarrow as pa
import pytest
from data_makers import job_folder, messages, outputs, run
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from registry.errors import ConfigError
from registry.records import DateColumn, TextRules
from training.data import dates
from training.data.dataset_toml import load_dataset_file
from training.data.spec import SPLITS, load_split
from training.model.samples import open_samples, signature_of

ROWS = 60
HEAD = 'format = "table"\n[table]\nfile = "{file}"\ntarget = "kind"\nduplicates = "allow"\n'
MOMENTS = [datetime(2024, 12, 30, 5, 30) + timedelta(days=i, hours=i % 5) for i in range(ROWS)]  # noqa: DTZ001
ALL = 'dates = [{column = "when", parts = ["days", "year", "quarter", "month", "week", "day", "yearday", "weekday", "hour", "minute", "second"]}]'


@pytest.fixture
def prepare(tmp_path):
    """Writes a dataset, and prepares it."""
    dataset = job_folder(tmp_path)

    def prepare(settings, texts=None, file="data.csv"):
        if texts is not None:
            lines = [f'"{text}",{("cat", "dog")[i % 2]}' for i, text in enumerate(texts)]
            (dataset / file).write_text("\n".join(["when,kind", *lines]))
        (dataset / "dataset.toml").write_text(HEAD.format(file=file) + settings)
        return run(dataset)

    prepare.dataset = dataset
    return prepare


def column(prepare, name):
    splits = [load_split(outputs(prepare.dataset) / "data" / split) for split in SPLITS]
    return sorted(value for split in splits for value in split.x[name][:, 0].tolist())


def hint(found):
    return " ".join(each.hint for each in found.faults)


def test_every_part_is_what_the_calendar_says(prepare):
    found = prepare(ALL, [each.isoformat() for each in MOMENTS])
    assert found.ok, messages(found)
    expected = {
        "year": lambda when: when.year, "quarter": lambda when: (when.month - 1) // 3 + 1, "month": lambda when: when.month,
        "week": lambda when: int(when.strftime("%V")), "day": lambda when: when.day,
        "yearday": lambda when: int(when.strftime("%j")), "weekday": lambda when: int(when.strftime("%u")) - 1,
        "hour": lambda when: when.hour, "minute": lambda when: when.minute, "second": lambda when: when.second,
    }  # fmt: skip
    for part, of in expected.items():
        assert column(prepare, f"when {part}") == sorted(map(of, MOMENTS)), part
    seconds = [each.replace(tzinfo=UTC).timestamp() for each in MOMENTS]
    np.testing.assert_allclose(column(prepare, "when days"), [each / 86_400 for each in seconds], atol=0.001)


def test_the_spec_and_the_splits_keep_the_texts(prepare):
    texts = [each.strftime("%d.%m.%Y") for each in MOMENTS]
    found = prepare('dates = ["when"]\ndate_format = "%d.%m.%Y"', texts)
    assert found.ok, messages(found)
    for name in SPLITS:
        split = load_split(outputs(prepare.dataset) / "data" / name)
        assert split.spec.dates == (DateColumn("when", "%d.%m.%Y"),)
        assert [(each.name, each.kind) for each in split.spec.columns] == [("when days", "numeric")]
        days = [(datetime.strptime(text, "%d.%m.%Y") - dates.EPOCH).days for text in split.dates["when"][:, 0]]  # noqa: DTZ007
        assert split.x["when days"][:, 0].tolist() == days


def test_the_signature_says_how_the_files_are_written_where_anything_is_declared(prepare):
    texts = [each.isoformat() for each in MOMENTS]
    for settings, wanted in (
        ("", None),
        ('na = ["-"]\nencoding = "cp1252"\n', TextRules(encoding="cp1252", na=("-",))),
    ):
        assert prepare(settings + 'dates = ["when"]', texts).ok
        samples = open_samples(outputs(prepare.dataset) / "data" / "train", None)
        spec = load_split(outputs(prepare.dataset) / "data" / "train").spec
        assert signature_of(spec, samples, spec.inputs, "kind").text == wanted
        assert signature_of(spec, replace(samples, loaded=True), spec.inputs, "kind").text is None


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.timestamp("s"), pa.date32(), pa.date64()]
)
def test_parquet_stores_dates_of_its_own(prepare, kind):
    values = [each.replace(tzinfo=UTC) if getattr(kind, "tz", None) else each for each in MOMENTS]
    stored = pa.array(values, pa.timestamp("us", getattr(kind, "tz", None))).cast(kind, safe=False)
    kinds = [("cat", "dog")[i % 2] for i in range(ROWS)]
    parquet.write_table(pa.table({"when": stored, "kind": kinds}), prepare.dataset / "data.parquet")
    found = prepare("", file="data.parquet")
    assert "column 'when' holds dates or times" in messages(found)
    assert 'write dates = ["when"] under [table]' in hint(found)
    found = prepare('dates = [{column = "when", parts = ["day", "hour"]}]', file="data.parquet")
    assert found.ok, messages(found)
    assert column(prepare, "when day") == sorted(each.day for each in MOMENTS)
    assert column(prepare, "when hour") == sorted(0 if pa.types.is_date(kind) else each.hour for each in MOMENTS)


def test_a_workbook_stores_dates_of_its_own(prepare):
    book = openpyxl.Workbook()
    for row in [("when", "kind"), *((when, ("cat", "dog")[i % 2]) for i, when in enumerate(MOMENTS))]:
        book.active.append(row)
    book.save(prepare.dataset / "data.xlsx")
    found = prepare('sheet = "Sheet"\n' + ALL, file="data.xlsx")
    assert found.ok, messages(found)
    assert column(prepare, "when hour") == sorted(each.hour for each in MOMENTS)


def test_a_missing_date_goes_with_the_other_missing_values(prepare):
    texts = ["", *(each.isoformat() for each in MOMENTS[1:])]
    two = 'dates = [{column = "when", parts = ["year", "month"]}]\n'
    assert messages(prepare(two, texts)).count("column 'when' is missing in 1 rows, the first: data.csv line 2") == 1
    found = prepare(two + 'missing = "keep"', texts)
    assert found.ok, messages(found)
    assert "1 of 60 rows have missing values, which reach the model: 'when' (1)" in found.notes
    spec = load_split(outputs(prepare.dataset) / "data" / "train").spec
    assert [each.may_miss for each in spec.inputs] == [True, True]


WRONG = {
    "another format": (
        [each.strftime("%d.%m.%Y %H:%M") for each in MOMENTS], 'dates = ["when"]',
        "a text like '99.99.9999 99:99' in data.csv line 2 (the first of 60 such rows), which is not a date as ISO 8601 writes it",
        'write date_format = "%d.%m.%Y %H:%M" under [table]',
    ),
    "either of two formats": (
        [f"0{1 + i % 9}/0{1 + i // 9}/2026" for i in range(ROWS)], 'dates = ["when"]', "which is not a date",
        'write date_format = "%d/%m/%Y", or date_format = "%m/%d/%Y" (as they mean)',
    ),
    "ISO 8601 where another one is declared": (
        [each.isoformat() for each in MOMENTS], 'dates = ["when"]\ndate_format = "%d.%m.%Y"',
        "which is not a date as '%d.%m.%Y' (30.11.2026)", "leave date_format out: they are written as ISO 8601 says",
    ),
    "one that is wrong": (
        [*(each.isoformat() for each in MOMENTS[1:]), "2026-02-30"], 'dates = ["when"]',
        "column 'when' holds a text like '9999-99-99' in data.csv line 61, which is not a date", "correct the dates, or say how",
    ),
    "no declaration": (
        [each.strftime("%d.%m.%Y") for each in MOMENTS], "", "column 'when' holds dates or times",
        'write dates = ["when"] and date_format = "%d.%m.%Y" under [table]',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("texts", "settings", "message", "advice"), WRONG.values(), ids=WRONG)
def test_a_text_that_is_not_a_date_is_named_with_column_and_row(prepare, texts, settings, message, advice):
    found = prepare(settings, texts)
    assert message in messages(found)
    assert advice in hint(found)


def test_numbers_are_not_dates(prepare):
    parquet.write_table(pa.table({"when": range(ROWS), "kind": ["cat", "dog"] * 30}), prepare.dataset / "data.parquet")
    assert "column 'when' holds numbers, not dates" in messages(prepare('dates = ["when"]', file="data.parquet"))


def test_a_column_that_is_called_like_a_part_is_refused(prepare):
    (prepare.dataset / "data.csv").write_text("when,when year,kind\n" + "2026-01-01,3,cat\n2026-01-02,4,dog\n" * 30)
    found = prepare('dates = [{column = "when", parts = ["year"]}]')
    assert "[table] dates make an input 'when year', and there is a column of that name" in messages(found)


SETTINGS = {
    'dates = "when"': "[table] dates: 'when' is not a list of columns",
    "dates = [1]": "is not a column; 1 is neither its name nor {column =",
    'dates = [{column = "when", part = ["year"]}]': "is neither its name nor {column =",
    'dates = [{column = "when", parts = ["years"]}]': "is not a list of some of 'days', 'year', 'quarter'",
    'dates = [{column = "when", parts = []}]': "is not a list of at least one of 'days', 'year'",
    'dates = ["when"]\ncategorical = ["when"]': "[table] dates: 'when' already is categorical",
    'date_format = "DD.MM.YYYY"': "is not a format of dates as Python's strptime has it",
    'dates = [{column = "when", date_format = "%Q"}]': "is not a format of dates",
}


@pytest.mark.parametrize(("line", "message"), SETTINGS.items(), ids=SETTINGS)
def test_what_is_declared_is_checked_before_a_file_is_read(tmp_path, line, message):
    (tmp_path / "dataset.toml").write_text(HEAD.format(file="data.csv") + line)
    with pytest.raises(ConfigError) as caught:
        load_dataset_file(tmp_path)
    assert message in str(caught.value)


@given(when=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), minutes=st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_an_offset_means_the_moment_in_utc(when, minutes):
    text = f"{when.isoformat()}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    assert dates.parse(text) == when - timedelta(minutes=minutes)
    assert dates.parse(when.isoformat()) == when
    assert dates.parse(dates.as_text(when)) == when


def test_a_date_at_the_end_of_time_is_refused_with_an_offset_beyond_it():
    assert not dates.is_date("0001-01-01T00:00+14:00")
    assert dates.numbers(["", None, "1970-01-02"], DateColumn("when")).tolist()[2] == [1.0]
    assert dates.as_text(date(2026, 11, 30)) == "2026-11-30"
