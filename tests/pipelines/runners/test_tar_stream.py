"""Tar streams between a job folder and an engine: what goes in comes out, and nothing leads out of the folder."""

import io
import os
import tarfile

import pytest

from pipelines.runners.docker import tar_stream
from registry.errors import TryAgain, WorkerFailed


def stream(*members):
    """The bytes of a tar with (name, data) files, or TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def unpack(tmp_path):
    """Unpack into a folder; gives the files that are there and the names that were refused."""
    into = tmp_path / "outer" / "into"
    into.mkdir(parents=True)

    def unpack(data, most_mb=0, cut=7):
        refused = []
        chunks = [data[i : i + cut] for i in range(0, len(data), cut)]
        tar_stream.unpack(chunks, into, most_mb, frozenset({"inputs"}), refused.append)
        assert [path.name for path in (tmp_path / "outer").iterdir()] == ["into"]
        found = {str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()}
        return found, [line.split("'")[1] for line in refused]

    return unpack


def test_files_come_out_as_they_went_in(unpack, tmp_path):
    source = tmp_path / "source"
    (source / "below" / ("é" * 120)).mkdir(parents=True)
    (source / "below" / ("é" * 120) / "a").write_bytes(os.urandom(3000))
    (source / "exact").write_bytes(b"x" * 1024)
    (source / "empty").touch()
    (source / "left out").touch()
    data = b"".join(
        (
            *tar_stream.pack(source, "job", (5, 6), frozenset({"left out"})),
            tar_stream.empty("job/new", (5, 6)),
            tar_stream.END,
        )
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {(member.uid, member.gid) for member in tar} == {(5, 6)}
    found, refused = unpack(data)
    assert found == {
        f"job/{path.relative_to(source)}": path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and path.name != "left out"
    }
    assert refused == []


@pytest.mark.parametrize("name", ["../a", "outputs/../../a", "/etc/a", "x/" * 200 + "a"])
def test_a_path_that_leads_out_is_refused(unpack, name):
    found, refused = unpack(stream((name, b"x"), ("b", b"y")))
    assert found == {"b": b"y"}
    assert refused == [name[:200]]


def test_no_file_is_written_through_a_link(unpack):
    evil = stream(
        link("out", ".."), ("out/a", b"x"), link("hard", "../../a", tarfile.LNKTYPE), link("dev", "", tarfile.CHRTYPE)
    )
    found, refused = unpack(evil)
    assert found == {"out/a": b"x"}
    assert refused == ["out", "hard", "dev"]


def test_hard_links_between_files_of_the_job_are_kept(unpack):
    found, _ = unpack(stream(("a", b"x"), link("b", "a", tarfile.LNKTYPE)))
    assert found == {"a": b"x", "b": b"x"}


def test_names_of_the_controller_are_left_out(unpack):
    assert unpack(stream(("inputs/a", b"x"), ("./b", b"y"))) == ({"b": b"y"}, [])


def test_more_than_the_limit_is_not_taken(unpack):
    with pytest.raises(WorkerFailed, match="more than 1 MiB"):
        unpack(stream(("a", b"x" * (2 << 20))), 1, 1 << 20)
    with pytest.raises(WorkerFailed, match="more than 1 MiB"):
        unpack(stream(*((str(i), b"") for i in range(300))), 1, 1 << 20)


def test_a_stream_that_is_cut_off_is_worth_another_try(unpack):
    with pytest.raises(TryAgain, match="not a tar stream"):
        unpack(stream(("a", b"x" * 5000))[:3000])
    with pytest.raises(TryAgain, match="not a tar stream"):
        unpack(b"<html>" * 300)


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * (3 << 20))
    parts = tar_stream.pack(tmp_path, "job", (0, 0))
    for _ in range(3):
        next(parts)
    os.truncate(tmp_path / "a", 1)
    with pytest.raises(TryAgain, match="became shorter"):
        list(parts)
