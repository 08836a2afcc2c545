"""The tests repository's pytest: whatever happens in there becomes cases, and a green report means that all was run."""

import contextlib
import os
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from unit_tests.pytest_log import read_log
from unit_tests.repository import NO_TESTS, Repository, below, run_repository


@pytest.fixture
def run(tmp_path):
    """Run files, given as name=text, and give the report."""

    def run(seconds=60.0, options=(), **files):
        folder = tmp_path / "home" / "tests"
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_py", ".py").replace("_ini", ".ini").replace(
                "_toml", ".toml"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        folder.mkdir(parents=True, exist_ok=True)
        return run_repository(Repository(folder, options, tmp_path / "home" / "scratch"), seconds)

    return run


def await_end(pid):
    """Until it has ended; a SIGKILL takes a moment. Whether its new parent has taken notice is not ours to say."""
    with contextlib.suppress(FileNotFoundError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.02)


def outcomes(report):
    return {case.name: (case.outcome, case.message.partition("\n")[0]) for case in report.cases}


def test_every_outcome_becomes_a_case(run):
    report = run(
        test_a_py="""
            import pytest
            @pytest.fixture
            def broken(): raise RuntimeError("no set-up")
            @pytest.fixture
            def untidy():
                yield
                raise RuntimeError("no tear-down")
            def test_good(): pass
            def test_bad(): assert 1 + 1 == 3, "sums"
            def test_broken(broken): pass
            def test_untidy(untidy): pass
            @pytest.mark.skip(reason="later")
            def test_later(): pass
            @pytest.mark.xfail(reason="known")
            def test_known(): assert False
            @pytest.mark.parametrize("x", [1, 2])
            def test_each(x): assert x == 1
        """
    )
    assert report.suite == "tests"
    assert outcomes(report) == {
        "test_a.py::test_good": ("passed", ""),
        "test_a.py::test_bad": ("failed", "AssertionError: sums"),
        "test_a.py::test_broken": ("error", "RuntimeError: no set-up"),
        "test_a.py::test_untidy": ("error", "RuntimeError: no tear-down"),
        "test_a.py::test_later": ("skipped", "later"),
        "test_a.py::test_known": ("skipped", "expected to fail: known"),
        "test_a.py::test_each[1]": ("passed", ""),
        "test_a.py::test_each[2]": ("failed", "assert 2 == 1"),
    }
    assert "test_a.py:10" in next(case.message for case in report.cases if "bad" in case.name)


def test_no_tests_are_an_error(run):
    assert outcomes(run(README_py="x = 1\n")) == {"pytest": ("error", NO_TESTS)}


def test_a_file_that_is_not_python_is_an_error_and_the_others_are_run(run):
    report = outcomes(
        run(test_a_py="def test_(:\n", test_b_py="import nonsense_module\n", test_c_py="def test_c(): pass\n")
    )
    assert report["test_a.py"] == ("error", "SyntaxError: invalid syntax")
    assert report["test_b.py"] == ("error", "ModuleNotFoundError: No module named 'nonsense_module'")
    assert report["test_c.py::test_c"] == ("passed", "")


def test_a_conftest_that_fails_is_an_error_that_shows_it(run):
    report = run(conftest_py="raise RuntimeError('at the start')\n", test_a_py="def test_a(): pass\n")
    assert outcomes(report) == {"pytest": ("error", "pytest could not run, exit code 4")}
    assert "at the start" in report.cases[0].message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import os; os._exit(0)", "pytest ended in this test, exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", "pytest ended in this test, killed by signal 9"),
    ],
)
def test_a_test_that_ends_pytest_is_an_error(run, line, message):
    report = outcomes(run(test_a_py=f"def test_a(): pass\ndef test_b(): {line}\ndef test_c(): pass\n"))
    assert report["test_a.py::test_a"] == ("passed", "")
    assert report["test_a.py::test_b"] == ("error", message)
    assert report["test_a.py::test_c"] == ("error", "was not run: pytest stopped before it")


def test_a_session_that_is_ended_early_with_a_good_exit_code_is_an_error(run):
    report = outcomes(run(test_a_py="import pytest\ndef test_a(): pytest.exit('enough', 0)\ndef test_b(): pass\n"))
    assert {outcome for outcome, _ in report.values()} == {"error"}
    assert "test_a.py::test_b" in report


def test_a_test_that_hangs_is_stopped_with_all_that_it_started(run, tmp_path):
    (tmp_path / "pids").touch()
    report = run(
        seconds=4,
        test_a_py=f"""
            import subprocess, sys, time
            def test_quick(): pass
            def test_hangs():
                own = "import os,sys,time; os.setsid() if sys.argv[1:] else 0; print(os.getpid(), flush=True); time.sleep(600)"
                for extra in ([], ["session"]):
                    child = subprocess.Popen([sys.executable, "-c", own, *extra], stdout=subprocess.PIPE, text=True)
                    with open({str(tmp_path / "pids")!r}, "a") as file:
                        file.write(child.stdout.readline())
                time.sleep(600)
            def test_never(): pass
        """,
    )
    cases = outcomes(report)
    assert ("error", "timed out: all tests together may take 4 s ([acceptance] timeout_seconds)") in cases.values()
    assert ("passed", "") not in [outcome for name, outcome in cases.items() if "never" in name or "hangs" in name]
    for pid in (tmp_path / "pids").read_text().split():
        await_end(pid)


def test_what_a_finished_test_left_running_is_ended(run, tmp_path):
    report = run(
        test_a_py=f"""
            import subprocess
            def test_a():
                child = subprocess.Popen(["sleep", "600"])
                open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        """
    )
    assert outcomes(report)["test_a.py::test_a"] == ("passed", "")
    await_end((tmp_path / "pid").read_text())


def test_the_repository_has_its_own_settings_and_helpers(run):
    report = run(
        pytest_ini="[pytest]\npython_files = check_*.py\nxfail_strict = true\n",
        check_a_py="import pytest\nfrom helper import two\n@pytest.mark.xfail\ndef test_two(): assert two == 2\n",
        helper_py="two = 2\n",
        deep__check_b_py="def test_b(): pass\n",
    )
    assert outcomes(report) == {
        "check_a.py::test_two": ("failed", "[XPASS(strict)]"),
        "deep/check_b.py::test_b": ("passed", ""),
    }


def test_nothing_around_the_repository_is_looked_at(run, tmp_path):
    (tmp_path / "home").mkdir()
    for folder in (tmp_path, tmp_path / "home"):
        (folder / "conftest.py").write_text("raise RuntimeError('not ours')\n")
        (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    assert outcomes(run(test_a_py="def test_a(): pass\n")) == {"test_a.py::test_a": ("passed", "")}


def test_the_tests_run_in_a_copy(run, tmp_path):
    text = "from pathlib import Path\ndef test_a(): Path(__file__).with_name('new').write_text('x')\n"
    assert outcomes(run(test_a_py=text))["test_a.py::test_a"][0] == "passed"
    assert [path.name for path in (tmp_path / "home" / "tests").iterdir()] == ["test_a.py"]


def test_secrets_stay_with_us(run, monkeypatch):
    for name in ("TRAINYARD_SMTP_PASSWORD", "TRAINYARD_APPROVAL_SECRET", "AWS_SECRET_ACCESS_KEY", "TF_TOKEN_x", "ANY"):
        monkeypatch.setenv(name, "secret")
    report = run(
        test_a_py="""
            import os
            def test_a():
                assert not [name for name, value in os.environ.items() if value == "secret"]
                assert os.path.isdir(os.environ["HOME"]) and os.path.isdir(os.environ["TMPDIR"])
        """
    )
    assert outcomes(report) == {"test_a.py::test_a": ("passed", "")}


def test_tests_cannot_speak_as_the_worker(run, capsys):
    run(test_a_py='import os\ndef test_a(): os.write(1, b\'@trainyard {"event": "note"}\\n\')\n')
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("@")]


def test_a_log_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"collected": ["a", "b"]}\n{"started": "a"}\n{"name": "a", "outco')
    log = read_log(path)
    assert (log.collected, log.started, log.cases, log.finished) == (["a", "b"], "a", {}, None)
    assert read_log(tmp_path / "none").collected == []


def test_descendants_are_found():
    """A grandchild as well: `sh` waits for the `sleep` that it started."""
    with subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        sleep = int(shell.stdout.readline())
        assert below(shell.pid) == [sleep]
        assert {shell.pid, sleep} <= set(below(os.getpid()))
        for pid in (sleep, shell.pid):
            os.kill(pid, signal.SIGKILL)
