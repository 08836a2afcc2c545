"""Labelled answers as samples of a dataset repository, in its own format."""

import gzip
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from prediction_log_files import write_segment
from pyarrow import parquet

from pipelines.workers.label_files.__main__ import make
from registry.errors import ConfigError

KEPT = {"mass": ("value", "float"), "year": ("value", "float"), "island": ("bin", "text"), "ok": ("value", "text")}
ROWS = "species;mass;year;island;ok;note\n" + "".join(
    f"{'Adelie' if n % 2 else 'Gentoo'};{n},5;{2000 + n};{'Dream' if n % 3 else 'Biscoe'};{'True' if n % 2 else 'False'};x\n"
    for n in range(60)
)
TABLE = """
format = "table"
[table]
file = "{file}"
target = "species"
delimiter = ";"
decimal = ","
ignore = ["note"]
"""


def penguin(request, mass=99.25, **more):
    return {"id": request, "inputs": {"mass": mass, "year": 2026.0, "island": "Dream", "ok": "true", **more}}


def wanted(*pairs):
    return [{"request": request, "row": 0, "label": label} for request, label in pairs]


@pytest.fixture
def place(tmp_path):
    class Place:
        dataset, log = tmp_path / "dataset", tmp_path / "log"

        def write(self, name, data):
            path = self.dataset / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())

        def make(self, *pairs, rows=None):
            job = {
                "log": str(self.log),
                "dataset": str(self.dataset),
                "scratch": str(tmp_path / "scratch"),
                "stamp": "now",
            }
            return make(job | {"rows": rows or wanted(*pairs)})

        def reasons(self, *pairs):
            return {request: reason for request, _, reason, *_ in self.make(*pairs).left_out}

    place = Place()
    place.dataset.mkdir()
    return place


class TestTable:
    @pytest.fixture(autouse=True)
    def table(self, place):
        place.write("dataset.toml", TABLE.format(file="data.csv"))
        place.write("data.csv", ROWS)

    def test_a_row_goes_behind_the_last_one_as_the_file_writes_values(self, place):
        write_segment(place.log, KEPT, [penguin("a"), penguin("b", mass=7.0)])
        result = place.make(("a", "Adelie"), ("b", "Gentoo"))
        assert (result.files, result.failed, result.left_out) == (["data.csv"], [], [])
        assert [(request, file) for request, _, _, file in result.taken] == [("a", "data.csv"), ("b", "data.csv")]
        text = (place.dataset / "data.csv").read_text()
        assert text == ROWS + "Adelie;99,25;2026;Dream;True;\nGentoo;7,0;2026;Dream;True;\n"

    @pytest.mark.parametrize(
        ("encoding", "end", "last"),
        [("utf-8", "\n", ""), ("utf-8-sig", "\r\n", "\r\n"), ("utf-16", "\r\n", ""), ("utf-8", "\n", "\n")],
    )
    def test_encoding_and_line_ends_stay_as_they_are(self, place, encoding, end, last):
        before = (ROWS.rstrip("\n").replace("\n", end) + last).encode(encoding)
        place.write("data.csv", before)
        write_segment(place.log, KEPT, [penguin("a")])
        assert place.make(("a", "Adelie")).failed == []
        after = (place.dataset / "data.csv").read_bytes()
        assert after.startswith(before)
        assert after.decode(encoding) == ROWS.replace("\n", end) + f"Adelie;99,25;2026;Dream;True;{end}"

    def test_a_pattern_gets_a_file_of_its_own(self, place):
        place.write("dataset.toml", TABLE.format(file="data*.csv"))
        write_segment(place.log, KEPT, [penguin("a")])
        result = place.make(("a", "Adelie"))
        assert result.files == ["datatrainyard-now.csv"]
        assert (
            place.dataset / result.files[0]
        ).read_text() == "species;mass;year;island;ok;note\nAdelie;99,25;2026;Dream;True;\n"

    def test_a_row_goes_behind_the_last_one_of_a_compressed_file(self, place):
        place.write("dataset.toml", TABLE.format(file="data.csv.gz"))
        place.write("data.csv.gz", gzip.compress(ROWS.encode()))
        write_segment(place.log, KEPT, [penguin("a")])
        assert place.make(("a", "Adelie")).files == ["data.csv.gz"]
        text = gzip.decompress((place.dataset / "data.csv.gz").read_bytes()).decode()
        assert text == ROWS + "Adelie;99,25;2026;Dream;True;\n"

    @pytest.mark.parametrize(("files", "file"), [("data.jsonl", "data.jsonl"), ("*.jsonl", "trainyard-now.jsonl")])
    def test_a_row_becomes_a_line_of_json_as_the_others_are(self, place, files, file):
        place.write("dataset.toml", TABLE.format(file=files))
        names, *rows = [line.split(";") for line in ROWS.splitlines()]
        kinds = {"mass": lambda text: float(text.replace(",", ".")), "year": int, "ok": lambda text: text == "True"}
        objects = [{name: kinds.get(name, str)(text) for name, text in zip(names, row, strict=True)} for row in rows]
        place.write("data.jsonl", "\n".join(map(json.dumps, objects)))
        write_segment(place.log, KEPT, [penguin("a")])
        assert place.make(("a", "Adelie")).files == [file]
        lines = (place.dataset / file).read_text().splitlines()
        new = {"species": "Adelie", "mass": 99.25, "year": 2026, "island": "Dream", "ok": True, "note": None}
        assert list(map(json.loads, lines)) == ([new] if "*" in files else [*objects, new])

    def test_what_is_missing_stays_missing_where_the_dataset_keeps_it(self, place):
        place.write("dataset.toml", TABLE.format(file="data.csv") + 'missing = "keep"\n')
        write_segment(place.log, KEPT, [penguin("a", mass=None), penguin("b", island=""), penguin("c", island=None)])
        result = place.make(("a", "Adelie"), ("b", "Gentoo"), ("c", "Gentoo"))
        text = (place.dataset / "data.csv").read_text()
        assert text == ROWS + "Adelie;;2026;Dream;True;\nGentoo;99,25;2026;;True;\n"
        assert result.left_out

    def test_what_is_not_known_is_left_out_with_the_reason(self, place):
        odd = {**KEPT, "mass": ("bin", "int")}
        write_segment(place.log, KEPT, [
            penguin("missing", mass=None), penguin("rare", island=None), penguin("half", year=2026.5),
            penguin("long", ok="x" * 200), penguin("again"), penguin("again", mass=3.0),
        ])  # fmt: skip
        write_segment(place.log, odd, [penguin("bin", mass=3)], number=2)
        said = place.reasons(
            *[(each, "Adelie") for each in ("missing", "rare", "half", "long", "again", "bin", "never")]
        )
        assert said == {
            "missing": "its 'mass' is missing",
            "rare": "its 'island' is missing, or a value that few samples share, and is not kept",
            "half": "its 'year' is 2026.5, and the dataset's are whole numbers",
            "long": "its 'ok' is longer than the log keeps",
            "again": "several requests had this id",
            "bin": "its 'mass' is kept as a bin: set it to \"value\" in [prediction_log] columns",
            "never": "its line is not in the prediction log any more",
        }
        assert (place.dataset / "data.csv").read_text() == ROWS

    def test_one_that_the_dataset_has_already_is_left_out_whatever_its_label(self, place):
        there = {"mass": 1.5, "year": 2001.0, "island": "Dream", "ok": "true"}
        write_segment(
            place.log, KEPT, [{"id": "same", "inputs": there}, {"id": "other", "inputs": there}, penguin("new")]
        )
        said = place.reasons(("same", "Adelie"), ("new", "Adelie"))
        assert said == {"same": "the dataset has it already: data.csv line 3"}
        assert (place.dataset / "data.csv").read_text().startswith(ROWS + "Adelie;99,25")
        place.write("data.csv", ROWS)
        assert place.reasons(("other", "Gentoo"))["other"] == "the dataset has it as 'Adelie': data.csv line 3"

    def test_two_new_ones_that_are_equal_are_one(self, place):
        write_segment(place.log, KEPT, [penguin("a"), penguin("b")])
        assert place.reasons(("a", "Adelie"), ("b", "Adelie")) == {"b": "the dataset has it already: data.csv line 62"}

    def test_a_key_is_the_id_of_the_answer(self, place):
        place.write("dataset.toml", TABLE.format(file="data.csv").replace('ignore = ["note"]', 'key = "note"'))
        lines = ROWS.splitlines()
        place.write("data.csv", "\n".join([lines[0], *(line + str(n) for n, line in enumerate(lines[1:]))]) + "\n")
        write_segment(place.log, KEPT, [penguin("a")])
        assert place.make(("a", "Adelie")).failed == []
        assert (place.dataset / "data.csv").read_text().endswith("Adelie;99,25;2026;Dream;True;a/0\n")

    def test_a_class_that_the_dataset_does_not_have_is_left_out(self, place):
        write_segment(place.log, KEPT, [penguin("a"), penguin("b", mass=3.0)])
        assert place.reasons(("a", "cow"), ("b", "Adelie ")) == {"a": "the dataset has no class 'cow'"}
        assert (place.dataset / "data.csv").read_text() == ROWS + "Adelie;3,0;2026;Dream;True;\n"

    def test_what_the_checks_of_the_dataset_refuse_is_reported(self, place):
        write_segment(place.log, KEPT, [penguin("a")])
        place.write("data.csv", ROWS.replace("Dream", "Dream ", 1))
        (failed,) = place.make(("a", "Adelie")).failed
        assert "failed: every value is written in one way" in failed

    @pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("ms"), pa.date32()])
    def test_a_date_is_stored_as_the_others_are(self, place, kind):
        moments = pa.array([n * 86_400_000_000 for n in range(60)], pa.int64()).cast(pa.timestamp("us"))
        rows = pa.table({"when": moments.cast(kind), "species": ["Adelie", "Gentoo"] * 30})
        place.write(
            "dataset.toml", 'format = "table"\n[table]\nfile = "data.parquet"\ntarget = "species"\ndates = ["when"]\n'
        )
        parquet.write_table(rows, place.dataset / "data.parquet")
        write_segment(
            place.log,
            {"when": ("value", "text")},
            [{"id": r, "inputs": {"when": t}} for r, t in (("a", "2026-11-30T14:05:00+01:00"), ("b", "soon"))],
        )
        result = place.make(("a", "Adelie"), ("b", "Gentoo"))
        assert "its 'when' is 'soon', and the dataset's are dates" in str(result.left_out)
        after = parquet.read_table(place.dataset / "data.parquet")
        assert after.schema.field("when").type == kind
        assert str(after["when"].cast(pa.string())[60].as_py()).startswith(
            "2026-11-30" if pa.types.is_date(kind) else "2026-11-30 13:05:00"
        )

    def test_parquet_keeps_the_types_of_its_columns(self, place):
        columns = {"species": ["Adelie", "Gentoo"] * 30, "mass": np.arange(60) / 2, "year": np.arange(60) + 2000,
                   "island": ["Dream", "Biscoe", "Dream"] * 20, "ok": [True, False] * 30, "note": ["x"] * 60}  # fmt: skip
        rows = pa.table(columns).set_column(2, "year", pa.array(columns["year"], pa.int16()))
        place.write("dataset.toml", TABLE.format(file="data.parquet").replace('delimiter = ";"\ndecimal = ","\n', ""))
        parquet.write_table(rows, place.dataset / "data.parquet")
        write_segment(place.log, KEPT, [penguin("a")])
        assert place.make(("a", "Adelie")).failed == []
        after = parquet.read_table(place.dataset / "data.parquet")
        assert after.schema.equals(rows.schema)
        assert after.slice(60).to_pylist() == [
            {"species": "Adelie", "mass": 99.25, "year": 2026, "island": "Dream", "ok": True, "note": None}
        ]


def png(value, mode="L"):
    file = io.BytesIO()
    Image.new(mode, (4, 4), value).save(file, "PNG", optimize=bool(value))
    return file.getvalue()


IMAGES = {"image": ("file", {"width": "int"})}


class TestImages:
    @pytest.fixture(autouse=True)
    def images(self, place):
        place.write("dataset.toml", 'format = "images"\n')
        for n in range(40):
            place.write(f"{'cat' if n % 2 else 'dog'}/{n}.png", png(n))

    def test_an_image_goes_into_the_folder_of_its_class_once(self, place):
        write_segment(
            place.log,
            IMAGES,
            [{"id": "a"}, {"id": "b"}, {"id": "c"}],
            images={"a.0.png": png(200), "b.0.png": png(7)},
        )
        result = place.make(("a", "cat"), ("b", "cat"), ("c", "dog"))
        (new,) = result.files
        assert new.startswith("cat/trainyard-")
        assert (place.dataset / new).read_bytes() == png(200)
        assert {request: reason for request, _, reason, *_ in result.left_out} == {
            "b": "the dataset has it already: cat/7.png",
            "c": 'its image is not kept: set [prediction_log] images = "file"',
        }
        assert max(each.name for each in (place.dataset / "cat").iterdir()) == new.partition("/")[2]

    def test_a_class_that_the_dataset_does_not_have_is_left_out(self, place):
        write_segment(place.log, IMAGES, [{"id": "a"}], images={"a.0.png": png(200)})
        assert place.reasons(("a", "../../cow")) == {"a": "the dataset has no class '../../cow'"}

    def test_an_image_of_another_size_is_reported_by_the_checks(self, place):
        write_segment(place.log, IMAGES, [{"id": "a"}], images={"a.0.png": png((1, 2, 3), "RGB")})
        assert "same mode" in place.make(("a", "cat")).failed[0]

    def test_an_image_becomes_a_sample_as_the_model_saw_it_whatever_is_done_to_files(self, place):
        settings = (
            'resize = [4, 4]\nfit = "pad"\nexif = "turn"\nmode = "L"\nconvert = ["rgb"]\nformats = ["png", "webp"]'
        )
        place.write("dataset.toml", f'format = "images"\n[images]\n{settings}\n')
        photo = io.BytesIO()
        Image.new("RGB", (9, 4), (7, 7, 7)).save(photo, "WEBP", lossless=True)
        place.write("cat/photo.webp", photo.getvalue())
        seen = Image.new("L", (4, 4), 0)  # as it is prepared: two rows, and a border
        seen.paste(7, (0, 1, 4, 3))
        twin = io.BytesIO()
        seen.save(twin, "PNG")
        images = {"a.0.png": png(200), "b.0.png": twin.getvalue()}
        write_segment(place.log, IMAGES, [{"id": "a"}, {"id": "b"}], images=images)
        result = place.make(("a", "cat"), ("b", "cat"))
        assert result.failed == []
        assert [(place.dataset / each).read_bytes() for each in result.files] == [png(200)]
        assert [each[2] for each in result.left_out] == ["the dataset has it already: cat/photo.webp"]


ARRAYS = {"x": ("value", "float[]")}


class TestArrays:
    @pytest.fixture(autouse=True)
    def arrays(self, place):
        place.write("dataset.toml", 'format = "npz"\n')
        numbers = np.arange(160, dtype=np.float32).reshape(40, 2, 2)
        np.savez(place.dataset / "data.npz", x=numbers, y=np.arange(40) % 2)

    def test_answers_become_an_archive_of_the_same_arrays(self, place):
        write_segment(place.log, ARRAYS, [
            {"id": "a", "inputs": {"x": [0.5, 1.5, 2.5, 3.5]}}, {"id": "b", "inputs": {"x": [4.0, 5.0, 6.0, 7.0]}},
            {"id": "c", "inputs": {"x": [1.0, 2.0]}}, {"id": "d", "inputs": {"x": [1.0, None, 1.0, 1.0]}},
        ])  # fmt: skip
        result = place.make(("a", "1"), ("b", "1"), ("c", "0"), ("d", "0"))
        assert (result.files, result.failed) == (["trainyard-now.npz"], [])
        with np.load(place.dataset / "trainyard-now.npz") as new:
            assert (new["x"].dtype, new["x"].tolist()) == (np.float32, [[[0.5, 1.5], [2.5, 3.5]]])
            assert (new["y"].dtype, new["y"].tolist()) == (np.int64, [1])
        assert {request: reason for request, _, reason, *_ in result.left_out} == {
            "b": "the dataset has it already: data.npz row index 1",
            "c": "its 'x' has 2 values, and the dataset's have 4",
            "d": "its 'x' has missing values",
        }

    def test_a_label_that_the_array_cannot_hold_is_left_out(self, place):
        write_segment(place.log, ARRAYS, [{"id": "a", "inputs": {"x": [0.5, 1.5, 2.5, 3.5]}}])
        assert place.reasons(("a", "cat")) == {"a": "the dataset has no class 'cat'"}
        place.write("dataset.toml", 'format = "npz"\n[npz]\ntask = "regression"\n')
        assert place.reasons(("a", "cat")) == {"a": "'cat' does not go into 'y', which holds int64"}

    def test_archives_that_are_named_one_by_one_cannot_get_another(self, place):
        place.write("dataset.toml", 'format = "npz"\n[npz]\nfiles = "data.npz"\n')
        write_segment(place.log, ARRAYS, [{"id": "a", "inputs": {"x": [0.5, 1.5, 2.5, 3.5]}}])
        with pytest.raises(ConfigError, match="names archives one by one"):
            place.make(("a", "1"))


def test_the_worker_gives_its_result_or_its_error_as_json(place):
    command = [sys.executable, "-P", "-m", "pipelines.workers.label_files"]
    job = {
        "log": str(place.log),
        "dataset": str(place.dataset),
        "scratch": str(place.dataset),
        "stamp": "now",
        "rows": [],
    }
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    assert (done.returncode, "dataset.toml is missing" in json.loads(done.stdout)["error"]) == (2, True), done.stderr
    place.write("dataset.toml", TABLE.format(file="data.csv"))
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {"files": [], "changed": [], "taken": [], "left_out": [], "failed": []}


class TestSplit:
    """What new samples say where the dataset has its samples say their split."""

    def days(self, place, toml, head, values, file="data.csv"):
        lines = ROWS.strip().split("\n")
        text = "\n".join(
            [f"{lines[0]};{head}", *(f"{line};{values[n % len(values)]}" for n, line in enumerate(lines[1:]))]
        )
        place.write("dataset.toml", TABLE.format(file=file) + toml)
        place.write("data.csv", text + "\n")
        write_segment(place.log, KEPT, [penguin("a")])

    @pytest.mark.parametrize(
        ("values", "written"),
        [
            ([f"2026-01-{n:02}" for n in range(1, 30)], "2026-11-30"),
            ([f"2026-01-{n:02}T10:00:00" for n in range(1, 30)], "2026-11-30T04:01:49"),
            ([f"2026-01-{n:02}T10:00:00Z" for n in range(1, 30)], "2026-11-30T04:01:49+00:00"),
        ],
    )
    def test_they_were_made_when_they_were_asked_about(self, place, values, written):
        self.days(place, '[split]\nby = "time"\ntime = "day"\n', "day", values)
        result = place.make(("a", "Adelie"))
        assert (result.failed, result.left_out) == ([], [])
        assert (place.dataset / "data.csv").read_text().endswith(f"Adelie;99,25;2026;Dream;True;;{written}\n")

    def test_numbers_as_times_are_refused(self, place):
        self.days(place, '[split]\nby = "time"\ntime = "day"\n', "day", list(range(1, 61)))
        with pytest.raises(ConfigError, match="'day' holds numbers, and nothing says what they count"):
            place.make(("a", "Adelie"))

    def test_they_are_for_training_in_the_words_of_the_dataset(self, place):
        self.days(
            place, '[split]\nby = "given"\ncolumn = "part"\n', "part", ["Training", "Training", "val", "test", "test"]
        )
        assert place.make(("a", "Adelie")).failed == []
        assert (place.dataset / "data.csv").read_text().endswith("Adelie;99,25;2026;Dream;True;;Training\n")

    def test_an_image_gets_a_line_in_the_file(self, place):
        toml = 'format = "images"\n[split]\nby = "given"\nfile = "split.csv"\n'
        place.write("dataset.toml", toml)
        words = ("train", "validation", "holdout")
        names = []
        for n in range(12):
            file = io.BytesIO()
            Image.fromarray(np.random.default_rng(n).integers(0, 255, (8, 8), np.uint8)).save(file, "PNG")
            names.append(f"{'ab'[n % 2]}/{n}.png")
            place.write(names[-1], file.getvalue())
        said = "split,name\r\n" + "".join(f"{words[n // 2 % 3]},{name}\r\n" for n, name in enumerate(names))
        place.write("split.csv", said.rstrip())
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(99).integers(0, 255, (8, 8), np.uint8)).save(file, "PNG")
        write_segment(place.log, IMAGES, [{"id": "q"}], images={"q.0.png": file.getvalue()})
        result = place.make(("q", "a"))
        assert (result.failed, result.left_out, len(result.taken)) == ([], [], 1)
        assert sorted(result.changed) == ["split.csv"]
        added = result.taken[0][3]
        assert (place.dataset / "split.csv").read_bytes().decode() == said + f"train,{added}\r\n"


def test_a_dataset_of_several_numbers_per_sample_takes_no_labels(place):
    place.write(
        "dataset.toml", 'format = "table"\n[table]\nfile = "a.csv"\ntask = "regression"\ntargets = ["mass", "year"]\n'
    )
    place.write("a.csv", "mass,year,wing\n" + "".join(f"{n},{n},{n}\n" for n in range(60)))
    write_segment(place.log, KEPT, [penguin("one")])
    with pytest.raises(ConfigError, match="several numbers per sample, and a label is one"):
        place.make(("one", "5"))
    place.write("dataset.toml", 'format = "npz"\n[npz]\ntask = "regression"\n')
    file = io.BytesIO()
    np.savez(file, x=np.zeros((60, 2)), y=np.zeros((60, 2)))
    place.write("a.npz", file.getvalue())
    with pytest.raises(ConfigError, match="several numbers per sample, and a label is one"):
        place.make(("one", "5"))
