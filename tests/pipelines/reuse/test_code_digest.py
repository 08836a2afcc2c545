"""The digest of our own code is that of its bytes, also when it is not computed again."""

from __future__ import annotations

import io
import os
import shutil

import pytest

from pipelines.reuse import code_digest as module
from pipelines.reuse.code_digest import code_digest


@pytest.fixture
def package(tmp_path):
    """A package that was not changed for a while."""
    folder = tmp_path / "package"
    for name, text in {"__init__.py": "", "a.py": "x = 1\n", "inner/__init__.py": "", "inner/b.py": "y = 2\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def settled(monkeypatch):
    """Files count as settled at once."""
    monkeypatch.setattr(module, "SETTLED", -60.0)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that were read since this was last called."""
    names = []

    def noted(path, *more, **named):
        names.append(os.path.basename(path))
        return io.open(path, *more, **named)  # noqa: UP020

    monkeypatch.setattr(module, "open", noted, raising=False)

    def opened():
        given, names[:] = list(names), []
        return given

    return opened


def test_it_is_read_once(package, tmp_path, settled, opened):
    first = code_digest([package], tmp_path / "home")
    assert opened() == ["__init__.py", "a.py", "__init__.py", "b.py"]
    assert code_digest([package], tmp_path / "home") == first
    assert opened() == []


def test_files_that_have_just_changed_are_read_again(package, tmp_path, opened):
    assert code_digest([package], tmp_path / "home") == code_digest([package], tmp_path / "home")
    assert len(opened()) == 8


@pytest.mark.parametrize("change", ["bytes", "other file", "name", "one less"])
def test_another_content_is_another_digest(package, tmp_path, settled, change):
    before = code_digest([package], tmp_path / "home")
    file = package / "inner" / "b.py"
    if change == "bytes":  # also with the same size and the time of before
        status = file.stat()
        file.write_text("y = 3\n", encoding="utf-8")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "other file":
        (package / "inner" / "c.py").write_text("", encoding="utf-8")
    elif change == "name":
        file.rename(file.with_name("c.py"))
    else:
        file.unlink()
    assert code_digest([package], tmp_path / "home") != before


def test_what_is_compiled_and_other_files_do_not_count(package, tmp_path, settled):
    before = code_digest([package], tmp_path / "home")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.py").write_text("", encoding="utf-8")
    (package / "notes.txt").write_text("", encoding="utf-8")
    assert code_digest([package], tmp_path / "home") == before


def test_a_copy_elsewhere_has_the_same(package, tmp_path, settled):
    shutil.copytree(package, tmp_path / "other" / "package")
    assert code_digest([package], tmp_path / "home") == code_digest([tmp_path / "other" / "package"], tmp_path / "home")
