"""`[split] by`: from a dataset's files to what is in which split, and what is wrong with that."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from registry import codec
from registry.errors import ConfigError
from training.data.dataset_toml import load_dataset_file
from training.data.learned import learned_rows
from training.data.prepare import main
from training.data.spec import SPLITS, PrepareJob, load_split

TABLE = """format = "table"
[table]
file = "data.csv"
target = "kind"
key = "id"
{table}
[split]
{split}
"""
DAYS = [f"2026-{1 + n // 28:02}-{1 + n % 28:02}" for n in range(60)]


@pytest.fixture
def prepared(tmp_path):
    """Writes a dataset, prepares it, and gives what was found; `sides()` then says what is where."""
    numbers = itertools.count()

    def prepare(files, row_keys=1000):
        prepare.folder = folder = tmp_path / str(next(numbers))
        for name, content in files.items():
            path = folder / "inputs" / "dataset" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        codec.save(PrepareJob(row_keys=row_keys, processes=1), folder / "job.json")
        (folder / "outputs").mkdir()
        return main(folder)

    prepare.split = lambda split: load_split(prepare.folder / "outputs" / "data" / split)
    prepare.sides = lambda: {name: split for split in SPLITS for name in prepare.split(split).names}
    return prepare


def rows(days=DAYS, more=lambda n: "", head="", count=None):
    lines = [f"{n},{n}.5,{'cat' if n % 2 else 'dog'},{day}{more(n)}" for n, day in enumerate(days[:count])]
    return "\n".join((f"id,mass,kind,day{head}", *lines)) + "\n"


def table(split, data=None, settings="", **files):
    return {"dataset.toml": TABLE.format(split=split, table=settings), "data.csv": data or rows(), **files}


def said(found):
    return [message for each in found.faults for message in each.messages]


class TestTime:
    def test_the_newest_rows_are_the_holdout_and_the_time_is_no_input(self, prepared):
        found = prepared(table('by = "time"\ntime = "day"\nholdout = 0.2\nvalidation = 0.1'))
        assert (said(found), found.samples) == ([], {"train": 42, "validation": 6, "holdout": 12})
        assert {int(name) for name, side in prepared.sides().items() if side == "holdout"} == set(range(48, 60))
        spec = prepared.split("train").spec
        assert [each.name for each in spec.inputs] == ["mass"]
        assert spec.boundaries == (DAYS[42], DAYS[48])
        said_so = f"split by 'day': the validation split begins with {DAYS[42]}, the holdout with {DAYS[48]}"
        assert said_so in found.notes
        assert spec.split == "holdout 0.2, validation 0.1, the newest by day"

    def test_a_time_that_is_declared_as_a_feature_is_one(self, prepared):
        found = prepared(table('by = "time"\ntime = "mass"', settings='numeric = ["mass"]\nignore = ["day"]'))
        assert said(found) == []
        assert [each.name for each in prepared.split("train").spec.inputs] == ["mass"]

    @pytest.mark.parametrize(
        ("days", "message"),
        [
            ([*DAYS[:-1], "1.2.2026"], "'1.2.2026' is neither a time nor a number (1 in all)"),
            ([*DAYS[:-2], "", ""], "[split] time: 'day' is missing in 2 samples, the first: data.csv line 60"),
            ([*DAYS[:-1], "2999-01-01"], "1 samples are newer than now, the first: data.csv line 61 (2999-01-01)"),
            (["2026-01-01"] * 60, "train: no samples at all"),
        ],
        ids=["format", "missing", "future", "one time"],
    )
    def test_what_cannot_be_put_into_order_is_named(self, prepared, days, message):
        found = prepared(table('by = "time"\ntime = "day"', rows(days)))
        assert any(message in each for each in said(found)), said(found)

    def test_a_leak_that_is_only_reported_is_the_first_note(self, prepared):
        split = 'by = "time"\ntime = "day"\nleakage = "report"'
        found = prepared(table(split, rows([*DAYS[:-1], "2999-01-01"])))
        assert said(found) == []
        assert found.notes[0].startswith("leakage (1): 1 samples are newer than now")

    def test_a_group_goes_where_its_newest_sample_is(self, prepared):
        data = rows(more=lambda n: f",p{n % 30}", head=",patient")
        found = prepared(table('by = "time"\ntime = "day"', data, 'group = "patient"'))
        assert said(found) == []
        sides = prepared.sides()
        assert all(sides[str(n)] == sides[str(n + 30)] for n in range(30))
        assert any("holds older samples of groups (patient)" in each for each in found.notes)

    def test_what_was_learned_is_known_when_old_samples_come_late(self, prepared):
        split = 'by = "time"\ntime = "day"'
        prepared(table(split))
        version = prepared.folder / "outputs" / "data" / "train"
        late = [*DAYS, *["2025-01-01"] * 60]
        prepared(table(split, rows(late)))
        holdout = prepared.folder / "outputs" / "data" / "holdout"
        learned = {
            int(n)
            for n, known in zip(prepared.split("holdout").names, learned_rows(version, holdout), strict=True)
            if known
        }
        assert learned == set(range(42, 51))  # 18 are the holdout now, of which 9 were
        assert prepared(table(split, rows(late)), row_keys=0).ok
        assert learned_rows(version, prepared.folder / "outputs" / "data" / "holdout") is None


WORD = ("train", "test", "val")


class TestGiven:
    def test_a_column_says_it(self, prepared):
        data = rows(more=lambda n: f",{WORD[n % 3]}", head=",part")
        found = prepared(table('by = "given"\ncolumn = "part"', data, 'ignore = ["day"]'))
        assert (said(found), found.samples) == ([], {"train": 20, "validation": 20, "holdout": 20})
        assert prepared.split("train").spec.split == "given by part"
        assert [each.name for each in prepared.split("train").spec.inputs] == ["mass"]

    def test_a_file_says_it_by_key(self, prepared):
        text = "name,split\n" + "".join(f"{n},{WORD[n % 3]}\n" for n in reversed(range(61)))
        found = prepared(table('by = "given"\nfile = "split.csv"', settings='ignore = ["day"]', **{"split.csv": text}))
        assert said(found) == []
        assert prepared.sides()["4"] == "holdout"
        assert any("1 names are those of no sample (e.g. '60')" in each for each in found.notes)

    @pytest.mark.parametrize(
        ("words", "messages"),
        [
            (lambda n: "tain" if n in {3, 4} else WORD[n % 3], ["[split] 'part' says 'tain' of 2 samples, the first: data.csv line 5"]),
            (lambda n: "train", ["[split] 'part' puts no sample into validation", "[split] 'part' puts no sample into holdout"]),
            (lambda n: "" if n == 7 else WORD[n % 3], ["data.csv line 9 has no 'part'"]),
        ],
        ids=["unknown", "empty split", "missing"],
    )  # fmt: skip
    def test_what_it_says_wrong_is_named(self, prepared, words, messages):
        data = rows(more=lambda n: f",{words(n)}", head=",part")
        assert said(prepared(table('by = "given"\ncolumn = "part"', data, 'ignore = ["day"]'))) == messages

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name,part\n0,train\n", "split.csv has the columns 'name', 'part', and not 'split' once"),
            ("name,split\n0,train\n0,test\n", "split.csv names '0' in line 2 and in line 3"),
            ("name,split\n0,train\n", "[split] 'split.csv' names no split for 59 samples, the first: data.csv line 3"),
            ("name,split\n0\n", "split.csv line 2 has 1 fields, and 2 columns"),
            (b"name,split\n\xff,train\n", "split.csv is not UTF-8"),
        ],
        ids=["columns", "twice", "missing", "fields", "encoding"],
    )
    def test_a_file_that_is_wrong_is_named_with_its_line(self, prepared, text, message):
        found = prepared(table('by = "given"\nfile = "split.csv"', settings='ignore = ["day"]', **{"split.csv": text}))
        assert any(message in each for each in said(found)), said(found)

    def test_groups_that_are_torn_apart_and_a_train_newer_than_the_holdout_are_refused(self, prepared):
        data = rows(more=lambda n: f",{WORD[n % 3]},g{n // 6}", head=",part,patient")
        split = 'by = "given"\ncolumn = "part"\ntime = "day"'
        messages = said(prepared(table(split, data, 'group = "patient"')))
        assert messages[0].startswith("10 groups are in several splits, the first: data.csv line 2 (train)")
        assert messages[1].startswith(
            "39 samples of train and validation are newer than the holdout's oldest (2026-01-02)"
        )
        found = prepared(table(f'{split}\nleakage = "report"', data, 'group = "patient"'))
        assert (said(found), len([each for each in found.notes if each.startswith("leakage")])) == ([], 2)


class TestStrata:
    def test_a_rare_class_is_in_every_split(self, prepared):
        data = rows(count=60).replace(",cat,", ",dog,") + "".join(f"r{n},9{n},newt,2026-01-01\n" for n in range(4))
        plain = prepared(table("", data, 'ignore = ["day"]'))
        assert not plain.ok
        found = prepared(table("stratify = true", data, 'ignore = ["day"]'))
        assert said(found) == []
        assert all(found.classes[split]["newt"] for split in SPLITS)
        assert (
            prepared.split("train").spec.split == "holdout 0.15, validation 0.15, by key id, every class in every split"
        )

    def test_a_column_is_a_stratum_and_stays_an_input(self, prepared):
        data = rows(more=lambda n: f",{'rare' if n < 3 else 'usual'}", head=",island")
        found = prepared(table('stratify = "island"', data, 'ignore = ["day"]'))
        assert said(found) == []
        assert {prepared.sides()[str(n)] for n in range(3)} >= {"holdout", "validation"}
        assert [each.name for each in prepared.split("train").spec.inputs] == ["mass", "island"]

    def test_a_column_of_names_is_none(self, prepared):
        found = prepared(table('stratify = "day"', settings='ignore = ["day"]'))
        assert said(found) == ["[split] stratify: 'day' has 60 values in 60 samples"]


def png(n, near=False):
    pixels = np.random.default_rng(n).integers(0, 256, (8, 8), np.uint8).repeat(4, 0).repeat(4, 1)
    if near:
        pixels[0, 0] ^= 1
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class TestImages:
    def images(self, toml, count=40, **files):
        made = {f"{'ab'[n % 2]}/{n:02}.png": png(n) for n in range(count)}
        return {"dataset.toml": f'format = "images"\n[split]\n{toml}', **made, **files}

    def times(self, count=40):
        return "name,time\n" + "".join(f"{'ab'[n % 2]}/{n:02}.png,{DAYS[n]}\n" for n in range(count))

    def test_a_file_says_when_each_was_made(self, prepared):
        found = prepared(self.images('by = "time"\ntime = "times.csv"', **{"times.csv": self.times()}))
        assert said(found) == []
        assert min(name for name, side in prepared.sides().items() if side == "holdout") == "a/34.png"

    def test_images_without_a_time_are_counted(self, prepared):
        found = prepared(self.images('by = "time"\ntime = "times.csv"', **{"times.csv": self.times(38)}))
        assert said(found) == ["[split] time: 'times.csv' is missing in 2 samples, the first: a/38.png"]

    def test_near_duplicates_in_two_splits_are_found_when_leakage_is_asked_for(self, prepared):
        given = "name,split\n" + "".join(f"{'ab'[n % 2]}/{n:02}.png,{WORD[n // 2 % 3]}\n" for n in range(40))
        twin = {"a/twin.png": png(0, near=True), "split.csv": given + "a/twin.png,holdout\n"}
        split = 'by = "given"\nfile = "split.csv"'
        assert prepared(self.images(split, **twin)).ok
        found = prepared(self.images(f'{split}\nleakage = "refuse"', **twin))
        assert said(found) == [
            "1 images are nearly one of another split, the first: a/twin.png (holdout) and a/00.png (train)"
        ]
        assert prepared(self.images(f'{split}\nleakage = "report"', **twin)).ok


class TestArchives:
    def archive(self, **arrays):
        file = io.BytesIO()
        np.savez(file, x=np.arange(60, dtype=np.float32)[:, None], y=np.arange(60) % 2, **arrays)
        return file.getvalue()

    @pytest.mark.parametrize(
        "when",
        [np.arange(60), np.array(DAYS), np.array(DAYS, "datetime64[D]"), np.arange(60) / 2],
        ids=["whole", "text", "datetime64", "float"],
    )
    def test_an_array_says_when(self, prepared, when):
        toml = 'format = "npz"\n[split]\nby = "time"\ntime = "when"'
        found = prepared({"dataset.toml": toml, "data.npz": self.archive(when=when)})
        assert (said(found), found.samples) == ([], {"train": 42, "validation": 9, "holdout": 9})
        assert prepared.split("holdout").x["x"].min() == 51

    def test_an_array_says_the_split(self, prepared):
        toml = 'format = "npz"\n[split]\nby = "given"\ncolumn = "part"'
        found = prepared({"dataset.toml": toml, "data.npz": self.archive(part=np.array(WORD * 20))})
        assert (said(found), found.samples["holdout"]) == ([], 20)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('by = "time"', '[split] by = "time" needs `time`'),
        ('by = "given"', '[split] by = "given" needs `column` or `file`'),
        ('by = "given"\ncolumn = "p"\nfile = "f.csv"', "needs one of `column` and `file`"),
        ('by = "time"\ncolumn = "day"', 'column: is for by = "given", but by is "time"; with `time` it is `time` that'),
        ('time = "day"', '[split] time: is for by = "time" or "given"'),
        ('by = "given"\ncolumn = "p"\nholdout = 0.2', '[split] holdout: with by = "given" every sample says its split'),
        ('by = "time"\ntime = "day"\nstratify = true', '[split] stratify: is for by = "hash", but by is "time"'),
        ('by = "time"\ntime = "kind"', "column 'kind' already is [table] target"),
        ('by = "date"', "[split] by: 'date' is not one of"),
        ("stratify = 1", "[split] stratify: 1 is not true, or the name of a column"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, toml, said):
    (tmp_path / "dataset.toml").write_text(TABLE.format(split=toml, table=""))
    with pytest.raises(ConfigError) as error:
        load_dataset_file(tmp_path)
    assert said in str(error.value)
