"""`dataset.lock`: what is read, what is refused, and that the same files are the same bytes."""

from __future__ import annotations

import pytest
from outside_git import FIRST, manifest, sha256

from pipelines.repositories.outside.manifest import File, Manifest, parse
from registry.errors import ConfigError

ONE, OTHER = "1" * 64, "2" * 64


def test_what_is_written_is_read_again():
    made = Manifest({"b/ä b.png": File(ONE, 3), "a.csv": File(OTHER, 0)}, frozenset({"b"}))
    assert parse(made.render()) == made


def test_files_are_in_order_one_a_line_so_that_git_can_merge_them():
    made = Manifest({"b.csv": File(ONE, 3), "a.csv": File(OTHER, 12)}, frozenset({"x", "c"}))
    assert made.render().decode().splitlines() == [
        FIRST, "folder c/", "folder x/", f"{OTHER} 12 a.csv", f"{ONE} 3 b.csv",
    ]  # fmt: skip


def test_order_twins_and_line_ends_do_not_matter():
    plain = manifest({"a.csv": b"1", "b.csv": b"2"})
    first, one, two = plain.decode().splitlines()
    shuffled = f"{first}\r\n{two}\r\n\r\n{one}\r\n{one}\r\n".encode()
    assert parse(shuffled).digest == parse(plain).digest == sha256(plain)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("", "its first line is not", "restore dataset.lock from git"),
        ("trainyard dataset manifest 2\n", "its first line is not", "another version of Trainyard"),
        (f"{FIRST}\n<<<<<<< HEAD\n", "line 2 is the mark of an unresolved merge", "keep the lines that are right"),
        (f"{FIRST}\n{ONE} a.csv\n", "line 2 is not `SHA-256 SIZE PATH`", "correct the line"),
        (f"{FIRST}\n{ONE} 1 a.csv\n{OTHER} 1 a.csv\n", "line 3: another content of a.csv", "correct the line"),
        (f"{FIRST}\n{ONE} 1 ../a.csv\n", "'../a.csv' leads out of its folder", "rename the file"),
        (f"{FIRST}\n{ONE} 1 /etc/passwd\n", "'/etc/passwd' is absolute", "rename the file"),
        (f"{FIRST}\n{ONE} 1 .git/config\n", "lies in git's own folder", "rename the file"),
        (f"{FIRST}\n{ONE} 1 a/.GIT/config\n", "lies in git's own folder", "rename the file"),
        (f"{FIRST}\n{ONE} 1 a//b\n", "is not written as `folder/file`", "rename the file"),
        (f"{FIRST}\n{ONE} 1 a\\b\n", "holds characters that cannot be in a path", "rename the file"),
        (f"{FIRST}\n{ONE} 1 a\x1b[2Jb\n", "holds characters that cannot be in a path", "rename the file"),
        (f"{FIRST}\n{ONE} 1 {'a/' * 50}b\n", "is nested deeper than 40 folders", "rename the file"),
        (f"{FIRST}\n{ONE} 1 {'a' * 300}\n", "a name of more than 255 bytes", "rename the file"),
        (f"{FIRST}\n{ONE} 1 a.csv\n{ONE} 1 A.csv\n", "a.csv and A.csv are one file on a disk", "remove one of the two"),
        (f"{FIRST}\n{ONE} 1 a\u0301\n{ONE} 1 \u00e1\n", "are one file on a disk", "remove one of the two"),
        (f"{FIRST}\n{ONE} 1 a\n{ONE} 1 A/b\n", "a is a file, and the folder of A/b", "remove one of the two"),
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_to_do(text, said, hint):
    with pytest.raises(ConfigError) as error:
        parse(text.encode(), "dataset.lock")
    assert str(error.value).startswith("dataset.lock: ")
    assert said in str(error.value)
    assert str(error.value).isprintable()
    assert hint in error.value.hint


def test_what_is_not_utf_8_is_refused_with_its_line():
    with pytest.raises(ConfigError, match="line 2 is not UTF-8"):
        parse(f"{FIRST}\n{ONE} 1 ".encode() + b"\xff\n")
