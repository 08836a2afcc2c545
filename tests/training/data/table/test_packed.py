"""Compressed text files, and lines above the names: read as the plain file is, and written again in the same way."""

import bz2
import gzip
import lzma

import pytest
from data_makers import job_folder, messages, outputs, run
from hypothesis import given
from hypothesis import strategies as st

from training.data.spec import SPLITS, load_split
from training.data.table import packed

HEAD = 'format = "table"\n[table]\ntarget = "kind"\nduplicates = "allow"\n[split]\nvalidation = 0.3\nholdout = 0.3\n'
PLAIN = "a,kind\n" + "".join(f"{i / 4},{('cat', 'dog')[i % 2]}\n" for i in range(60))
PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture
def dataset(tmp_path):
    return job_folder(tmp_path)


def prepare(dataset, name, data, settings=""):
    (dataset / "dataset.toml").write_text(HEAD.replace("[split]", f'file = "{name}"\n{settings}\n[split]'))
    (dataset / name).write_bytes(data)
    return run(dataset)


def values(dataset):
    splits = [load_split(outputs(dataset) / "data" / split) for split in SPLITS]
    return [each.x["a"][:, 0].tolist() for each in splits], [each.names for each in splits]


@pytest.mark.parametrize("ending", PACKED)
def test_a_compressed_file_is_read_and_written_as_the_plain_one(dataset, ending):
    assert prepare(dataset, "data.csv", PLAIN.encode()).ok
    plain, written = (
        values(dataset)[0],
        {split: (outputs(dataset) / "data" / split / "files" / "data.csv").read_bytes() for split in SPLITS},
    )
    found = prepare(dataset, f"data.csv{ending}", PACKED[ending](PLAIN.encode()))
    assert found.ok, messages(found)
    assert values(dataset)[0] == plain
    assert values(dataset)[1][0][0].startswith(f"data.csv{ending} line ")
    for split in SPLITS:
        file = outputs(dataset) / "data" / split / "files" / f"data.csv{ending}"
        assert packed.PROGRAMS[ending].decompress(file.read_bytes()) == written[split]


def test_tabs_and_other_encodings_may_be_compressed(dataset):
    text = PLAIN.replace(",", "\t").replace("cat", "chat é")
    found = prepare(dataset, "data.tsv.gz", gzip.compress(text.encode("cp1252")), 'encoding = "cp1252"')
    assert found.ok, messages(found)
    assert set(found.classes["train"]) == {"chat é", "dog"}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("data.csv.gz", PLAIN.encode(), "cannot be unpacked as .gz"),
        ("data.csv.gz", gzip.compress(PLAIN.encode())[:-9], "cannot be unpacked as .gz"),
        ("data.csv.xz", lzma.compress(PLAIN.encode())[:-9], "cannot be unpacked as .xz"),
        ("data.csv.bz2", b"BZh9 and more", "cannot be unpacked as .bz2"),
        ("data.csv.gz", gzip.compress(gzip.compress(PLAIN.encode())), "is compressed by gzip, not a table in text"),
        (
            "data.gz",
            gzip.compress(PLAIN.encode()),
            "has none of the endings .csv, .tsv, .jsonl, .xlsx and .parquet, but compressed by gzip",
        ),
        (
            "data.parquet.gz",
            gzip.compress(b"PAR1"),
            "has none of the endings .csv, .tsv, .jsonl, .xlsx and .parquet, but compressed by gzip",
        ),
    ],
)
def test_what_cannot_be_unpacked_is_refused(dataset, name, data, said):
    found = prepare(dataset, name, data)
    assert not found.ok
    assert said in messages(found)


def test_a_bomb_is_refused_before_it_is_unpacked(dataset, monkeypatch):
    monkeypatch.setattr(packed, "SMALL", 1 << 20)
    found = prepare(dataset, "data.csv.xz", lzma.compress(b"0" * (8 << 20)))
    assert "is more than 1 MB when it is unpacked" in messages(found)


def test_lines_above_the_names_are_skipped_and_kept(dataset):
    title = 'Report; of "May\n\n'
    assert prepare(dataset, "data.csv", PLAIN.encode()).ok
    plain = values(dataset)[0]
    found = prepare(dataset, "data.csv", (title + PLAIN).encode(), "skip_rows = 2")
    assert found.ok, messages(found)
    assert values(dataset)[0] == plain
    assert {int(name.rpartition(" ")[2]) for names in values(dataset)[1] for name in names} == set(range(4, 64))
    for split in SPLITS:
        text = (outputs(dataset) / "data" / split / "files" / "data.csv").read_text()
        assert text.startswith(f"{title}a,kind\n")


@given(st.sampled_from([".csv", ".tsv", ".txt"]), st.sampled_from(["", *PACKED]), st.text("ab.", max_size=5))
def test_the_ending_of_a_text_file_is_that_before_its_compression(ending, compression, name):
    assert packed.ending(f"x{name}{ending}{compression.upper()}") == ending


@given(st.binary(max_size=200), st.sampled_from(["a.csv", *(f"a.csv{each}" for each in PACKED)]))
def test_the_same_bytes_are_packed_in_the_same_way(data, name):
    once = packed.pack(name, data)
    assert packed.pack(name, data) == once
    unpack = getattr(packed.PROGRAMS.get(name[5:]), "decompress", bytes)
    assert unpack(once) == data
