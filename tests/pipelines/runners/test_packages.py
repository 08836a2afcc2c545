"""A requirements.txt for workers that are processes: installed once, whole or not at all, and no code of it runs here."""

import os
import signal
import subprocess
import sys
import tarfile
import threading

import pytest
from runner_contract import nothing, said
from wheels import only_from, wheel

from pipelines.config.schema import Config, Repositories, RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.process.packages import FOLDER, Packages, must_fit, own_pins, remove
from pipelines.runners.process.runner import ProcessRunner
from registry.errors import ConfigError, TryAgain

GREETS = {"greets.py": "WORD = 'good day'\n", "greets_data/a.txt": "data\n"}
KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.runners.process.packages import Packages
def die(line):
    if line.startswith("Processing"):
        os.kill(os.getpid(), signal.SIGKILL)
with Packages(Path(sys.argv[1]), 1000, 60).ready(Path(sys.argv[2]), die):
    pass
"""


@pytest.fixture
def index(tmp_path, monkeypatch):
    only_from(tmp_path / "index", monkeypatch)
    wheel(tmp_path / "index", "greets", GREETS)
    return tmp_path / "index"


@pytest.fixture
def wanted(tmp_path):
    def write(text="greets\n"):
        path = tmp_path / "requirements.txt"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def packages(tmp_path):
    return Packages(tmp_path / FOLDER, 1000, 60.0)


WORKER = """
import json, greets
from pathlib import Path
def refused(path):
    try:
        Path(path).touch()
    except OSError:
        return True
print(greets.WORD, refused(Path(greets.__file__).with_name("new.py")))
Path("result.json").write_text(json.dumps({"text": greets.WORD}))
"""


def left(packages):
    return sorted(each.name for each in packages._root.iterdir() if not each.name.endswith(".lock"))


def test_it_is_installed_once_and_a_worker_imports_it_and_may_not_change_it(index, wanted, tmp_path):
    """Nothing that is installed already is installed again, and no line of a .pth file is run here."""
    wheel(index, "sly", {"sly.pth": f"import os; open({str(tmp_path / 'was run')!r}, 'w')\n"}, requires=["numpy>=1"])
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "asks.py").write_text(WORKER)
    path, lines = wanted("greets  # ours\nsly\n"), []
    runner = ProcessRunner(RunnerConfig(), tmp_path / "cache")
    assert runner.image(path, lines.append) is None
    env, inputs = {"PYTHONPATH": "inputs/jobs"}, {"jobs": tmp_path / "jobs"}
    runner.run(Job("probe", ("asks",), tmp_path / "job", Limits(60, 0), inputs, env, requirements=path), lines.append)
    assert said(tmp_path / "job") == "good day"
    assert "good day True" in lines
    assert [each for each in lines if each.startswith("inst")] == [
        "installing the packages of requirements.txt: greets, sly"
    ]
    packages = Packages(tmp_path / "cache" / FOLDER, 1000, 60.0)
    (name,) = left(packages)
    site = packages._root / name
    assert {each.name for each in site.iterdir() if each.suffix != ".dist-info"} == {
        "greets.py", "greets_data", "sly.pth", "__pycache__",
    }  # fmt: skip
    assert list((site / "__pycache__").glob("greets.*.pyc")), "who may only read it need not compile it"
    assert not (tmp_path / "was run").exists()


def test_a_version_that_does_not_go_with_what_is_installed_is_refused(index, wanted, packages):
    wheel(index, "numpy", {"numpy/__init__.py": ""}, version="99.0")
    with pytest.raises(ConfigError, match=r"requirements\.txt: Cannot install numpy==99.0") as error:  # noqa: SIM117
        with packages.ready(wanted("numpy==99.0\n"), nothing):
            pass
    assert "must go together with Trainyard's own packages" in error.value.hint
    assert left(packages) == []


@pytest.mark.parametrize(
    "path", ["json.py", "training/extra.py", "numpy/version.py", "sitecustomize.py", "pipelines.py"]
)
def test_a_package_that_hides_what_is_there_is_refused(tmp_path, path):
    for each in (path, "fine.py", "hides-1.0.dist-info/METADATA"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).touch()
    with pytest.raises(ConfigError, match=f"bring {path.partition('/')[0].removesuffix('.py')}.*, which hides"):
        must_fit(tmp_path, "requirements.txt")
    (tmp_path / path).unlink()
    (tmp_path / path).parent.rmdir() if "/" in path else None
    must_fit(tmp_path, "requirements.txt")


def test_what_was_not_used_for_longest_goes_and_what_a_worker_uses_stays(wanted, packages, tmp_path):
    first, second = (packages.place(f"{name}\n", own_pins()) for name in ("greets", "second"))
    for place in (first, second):  # as if it had been installed
        place.mkdir(parents=True)
        (place / "module.py").write_text("x = 1\n" * 1000)
    small = Packages(tmp_path / FOLDER, 0, 60.0)
    with packages.ready(wanted("greets\n"), nothing) as used:
        assert used == first
        os.utime(first.with_name(f"{first.name}.lock"), (1, 1))
        with packages.ready(wanted("second\n"), nothing):
            assert [each.place for each in small.over()] == [second, first]
            for each in small.over():
                remove(each)
            assert first.is_dir()
            assert second.is_dir()
    for each in small.over():
        remove(each)
    assert list(packages._root.iterdir()) == []


def test_a_file_without_packages_needs_no_environment(index, wanted, packages):
    with packages.ready(wanted("# none\n"), nothing) as site:
        assert site is None


def test_a_package_that_is_only_there_as_source_is_refused_and_not_run(index, wanted, packages, tmp_path):
    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    with tarfile.open(index / "sourced-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "sourced-1.0/setup.py")
    with pytest.raises(ConfigError, match="No matching distribution found for sourced") as error:  # noqa: SIM117
        with packages.ready(wanted("sourced\n"), nothing):
            pass
    assert "each package needs a wheel" in error.value.hint
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize("line", ["--index-url https://example.org", "greets @ file:///tmp/x.whl", "./local", "-e ."])
def test_a_line_that_names_no_package_is_refused_before_pip_is_called(index, wanted, packages, line):
    with pytest.raises(ConfigError, match="line 1"), packages.ready(wanted(line + "\n"), nothing):
        pass
    assert not packages._root.exists()


@pytest.mark.long
def test_an_index_that_is_not_reached_may_be_reached_later(wanted, packages, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(TryAgain, match=r"requirements\.txt: .*"), packages.ready(wanted(), nothing):
        pass


@pytest.mark.long
def test_of_runs_that_want_the_same_at_once_one_installs_it(index, wanted, packages):
    lines, places = [], []
    path = wanted()

    def use():
        with packages.ready(path, lines.append) as site:
            places.append(site)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(places)) == 1
    assert len(places) == 4
    assert sum(line.startswith("installing") for line in lines) == 1


@pytest.mark.long
def test_killed_half_way_it_leaves_nothing_that_is_used(index, wanted, packages):
    done = subprocess.run([sys.executable, "-P", "-c", KILLED, packages._root, wanted()], check=False)
    assert done.returncode == -signal.SIGKILL
    assert all(name.startswith(".new-") for name in left(packages))
    with packages.ready(wanted(), nothing) as site:
        assert (site / "greets.py").exists()
    assert left(packages) == [site.name]


@pytest.mark.long
def test_packages_beyond_the_bound_are_refused(index, wanted, tmp_path):
    wheel(index, "large", {"large.py": "x = 1\n" * 400_000})
    with pytest.raises(ConfigError, match=r"its packages take \d+ MB") as error:  # noqa: SIM117
        with Packages(tmp_path / FOLDER, 1, 60.0).ready(wanted("large\n"), nothing):
            pass
    assert "packages_mb is 1" in error.value.hint


def test_they_can_be_turned_off_and_the_run_says_so(index, wanted, tmp_path):
    lines = []
    runner = ProcessRunner(RunnerConfig(packages=False), tmp_path / "cache")
    runner.image(wanted(), lines.append)
    assert lines == ["requirements.txt is not installed: [runner] packages = false"]
    assert not (tmp_path / "cache").exists()


def test_turning_them_off_makes_other_runs_and_the_default_the_same_as_before():
    def runner(**settings):
        return Config("m", Repositories("a", "b", "c"), runner=RunnerConfig(**settings)).outcome_settings["runner"]

    assert runner() == ["process", ""]
    assert runner(packages=False) != runner()


def test_a_misspelled_package_and_a_version_that_is_not_there_have_hints_of_their_own(index, wanted, packages):
    for text, hint in (
        ("greetz==1.0", "is 'greetz' its name in the index?"),
        ("greets==9.9", "ask for a version of 'greets'"),
    ):
        with pytest.raises(ConfigError) as error:  # noqa: SIM117
            with packages.ready(wanted(text), nothing):
                pass
        assert error.value.hint.startswith(hint)
