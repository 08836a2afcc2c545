"""Files that are damaged, or made to harm: an error that names the file, or a rejected row; never a crash, never memory."""

import io
import os
import random
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from batch_models import Worker, array_signature, image_signature, table_signature
from PIL import Image
from pyarrow import parquet

from registry.errors import ConfigError
from serving.batch import images


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Worker(tmp_path_factory.mktemp("table"), table_signature(("a", "b"), ("no", "yes")))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return Worker(tmp_path_factory.mktemp("image"), image_signature())


def png(side=8, value=7):
    out = io.BytesIO()
    Image.new("L", (side, side), value).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("name", ["in.parquet", "in.npz", "in.zip", "in.tar", "in.csv", "in.jsonl"])
@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PK\x03\x04 and no more", random.Random(1).randbytes(300), b"\0" * 2000]
)
def test_what_is_no_such_file_is_an_error_that_names_it_or_has_no_rows(table, image, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    worker = image if name in {"in.zip", "in.tar"} else table
    try:
        records, _, _ = worker.run(tmp_path / name)
        assert not sum(each.predicted for each in records)
    except ConfigError as error:
        assert str(error).startswith(f"{name}: ")
        assert error.hint


@pytest.mark.parametrize("left", [0.99, 0.5, 0.1])
def test_a_truncated_file_is_an_error_before_its_first_row(table, tmp_path, left):
    rows = {"a": np.arange(5000.0), "b": np.arange(5000.0)}
    parquet.write_table(pa.table(rows), tmp_path / "in.parquet")
    np.savez(tmp_path / "in.npz", **rows)
    for name in ("in.parquet", "in.npz"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(len(data) * left)])
        with pytest.raises(ConfigError, match=f"^{name}: cannot be read as"):
            table.run(tmp_path / name)


def test_damage_in_the_middle_of_parquet_is_an_error_and_parts_before_it_are_whole(table, tmp_path):
    path = tmp_path / "in.parquet"
    chance = np.random.default_rng(1)
    rows = pa.table({"a": chance.random(60_000), "b": chance.random(60_000)})
    parquet.write_table(rows, path, row_group_size=3000, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        table.run(path)
    outputs = sorted((table.root / f"job-{table._tries}" / "outputs").glob("part-*.parquet"))
    assert all(parquet.read_table(each).num_rows == 1000 for each in outputs)


def test_quotes_line_ends_and_delimiters_inside_fields_stay_what_they_are(table, tmp_path):
    (tmp_path / "in.csv").write_bytes(b'a,b,note\r\n1,2,"x\ny, ""z"""\r\n3,4,\xff\r\n5,6,7,8\r\n9\r\n\r\n1,1,=1+1\r\n')
    records, folder, _ = table.run(tmp_path / "in.csv", form="csv")
    text = (folder / records[0].name).read_text()
    assert '"x\ny, ""z"""' in text
    assert (records[0].rows, records[0].predicted) == (5, 2)
    rejects = (folder / records[0].rejects).read_text()
    assert '"row":2,"reason":"note: is not UTF-8"' in rejects
    assert '"row":3,"reason":"4 fields, and the header has 3"' in rejects
    assert '"row":4,"reason":"1 fields, and the header has 3"' in rejects


def test_a_row_without_end_is_an_error_and_takes_no_memory(table, tmp_path):
    (tmp_path / "in.csv").write_bytes(b'a,b\n1,2\n"' + b"x" * (3 << 20))
    with pytest.raises(ConfigError, match="a row is longer than 1 MB, or a quotation mark is missing"):
        table.run(tmp_path / "in.csv")
    long = b'{"a":1,"b":2,"c":"' + b"x" * (17 << 20) + b'"}\n'
    (tmp_path / "in.jsonl").write_bytes(b'{"a":1,"b":2}\n' + long + b'{"a":3,"b":4}\n')
    found, rejected = table.predicted(tmp_path / "in.jsonl")
    assert found["a"].to_pylist() == ["1", "3"]
    assert [(row, why) for _, row, why in rejected] == [(2, "the line is longer than 16 MB")]


def test_arrays_of_python_objects_are_never_unpickled(tmp_path):
    worker = Worker(tmp_path, array_signature((2,)))
    np.savez(tmp_path / "in.npz", x=np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ConfigError, match="array 'x' is missing"):
        worker.run(tmp_path / "in.npz")
    np.savez(tmp_path / "in.npz", x=np.asfortranarray(np.ones((3, 2), np.float32)))
    with pytest.raises(ConfigError, match="stored column by column"):
        worker.run(tmp_path / "in.npz")


def test_bombs_odd_names_links_and_damaged_members_of_archives_are_rejected_alone(image, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/up.png", png())
        archive.writestr("bomb.png", bytes(30 << 20))
        archive.writestr("large.png", png(5000))
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("text.png", b"hello")
        archive.writestr("/good.png", png())
    found, rejected = image.predicted(tmp_path / "in.zip")
    assert found["file"].to_pylist() == ["../../etc/up.png", "/good.png"]
    assert [(row, why.partition(": ")[0]) for _, row, why in rejected] == [
        (2, "bomb.png"), (3, "large.png"), (4, "link.png"), (5, "text.png"),
    ]  # fmt: skip
    assert not list(tmp_path.parent.rglob("up.png")), "nothing is unpacked"
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.FIFOTYPE), ("../c.png", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(png()) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(png()))
    found, rejected = image.predicted(tmp_path / "in.tar")
    assert found["file"].to_pylist() == ["../c.png"]
    assert [row for _, row, _ in rejected] == [1, 2]


def test_links_in_a_folder_are_not_followed(image, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "a.png").write_bytes(png())
    (folder / "b.png").symlink_to(tmp_path / "secret.png")
    (folder / "c").symlink_to(tmp_path)
    os.mkfifo(folder / "d.png")
    found, rejected = image.predicted(folder, kinds=("folder",))
    assert found["file"].to_pylist() == ["a.png"]
    assert [why for _, _, why in rejected] == ["b.png: is a symbolic link", "d.png: is not a file"]
