"""`trainyard monitor`: exit codes, words and JSON for people, Jenkins and services."""

import argparse
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from monitor_parts import config, decay, drift, failing, health, looking, name, passing, service

from pipelines.commands import monitor
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.words import in_a_sentence
from registry.errors import ConfigError, TryAgain

HELPERS = Path(__file__).parents[2] / "helpers"


def run(settings, *words, found=()):
    """The exit code of `trainyard monitor WORDS…`, when the worker finds these windows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    monitor.add_arguments(parser)
    before, monitor.look = monitor.look, looking(*found)
    try:
        return monitor.main(parser.parse_args(words), settings)
    finally:
        monitor.look = before


def test_once_ends_with_0_while_all_is_well_and_with_3_while_an_alarm_is_open(tmp_path, capsys):
    settings = config(tmp_path)
    assert run(settings, "--once", found=[passing(1)]) == 0
    assert "3 checks, none failed" in capsys.readouterr().out
    assert run(settings, "--once", found=[failing(2), failing(3)]) == 3
    said = capsys.readouterr().out
    assert "ALARM: drift of inputs.mass: distribution: inputs.mass: on the holdout the median was 12" in said
    assert "1 open: " in said
    assert run(settings, "--once") == 3
    assert "no window is complete yet that was not checked before" in capsys.readouterr().out
    assert run(settings, "--once", found=[passing(4)]) == 0


def test_a_monitor_on_jenkins_promotes_nothing_and_says_so_before_it_begins(tmp_path):
    settings = config(tmp_path, on_alarm="retrain", auto_promote=True)
    with pytest.raises(ConfigError, match=r"^--build: Jenkins does the retraining"):
        run(settings, "--once", "--build", str(tmp_path / "build"), found=[failing(1), failing(2)])
    assert not (tmp_path / "home").exists()


def test_json_has_all_that_was_found(tmp_path, capsys):
    settings = config(tmp_path)
    assert run(settings, "--once", "--json", found=[failing(1), failing(2)]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 3
    assert found["windows"] == [name(failing(1)), name(failing(2))]
    assert found["newest"]["checks"][0]["column"] == "inputs.mass"
    assert found["raised"][0]["alarm"]["cause"] == found["open"][0]["alarm"]["cause"] == "drift inputs.mass"
    assert found["silenced"] == []


def test_show_says_what_failed_since_when_how_sure_and_what_to_do(tmp_path, capsys):
    settings = config(tmp_path)
    windows = [health(n, drift(), decay("failed", 0.8), service(), decay("unknown", what="f1")) for n in (1, 2)]
    run(settings, "--once", found=windows)
    capsys.readouterr()
    assert run(settings, "show") == 0
    said = " ".join(capsys.readouterr().out.split())
    for wanted in (
        "2 of 4 checks of this window failed, 2 alarms open",
        "FAILED drift of inputs.mass: distribution. inputs.mass: on the holdout the median was 12",
        "chance alone does so in 1 of 2,500 windows",
        "FAILED quality: accuracy. Accuracy is 0.8.",
        "unknown decay f1 No label is known yet.",
        "run dataset --force --reason 'monitor: decay accuracy, drift inputs.mass'",
        "rollback digits",
        "monitor silence 'decay accuracy' --until",
        "report/index.html",
    ):
        assert wanted.lower() in said.lower(), wanted


def test_show_has_an_older_window_and_as_many_as_are_asked_for(tmp_path, capsys):
    settings = config(tmp_path)
    run(settings, "--once", found=[passing(1), passing(2), failing(3)])
    capsys.readouterr()
    assert run(settings, "show", "--window", name(passing(1))) == 0
    assert "no check of this window failed" in capsys.readouterr().out
    run(settings, "show", "--json", "--last", "2")
    assert json.loads(capsys.readouterr().out)["windows"] == [name(passing(2)), name(failing(3))]
    with pytest.raises(ConfigError, match="--last: 0"):
        run(settings, "show", "--last", "0")


def test_show_before_the_first_window_names_the_next_action(tmp_path, capsys):
    assert run(config(tmp_path), "show") == 0
    assert "no window was checked yet" in capsys.readouterr().out
    assert not (tmp_path / "home").exists()


def test_a_silence_is_set_shown_and_taken_back(tmp_path, capsys):
    settings = config(tmp_path)
    run(settings, "--once", found=[failing(1), failing(2)])
    words = ("silence", "drift inputs.mass", "--until", "2126-12-24", "--reason", "a new scanner", "--by", "ada")
    assert run(settings, *words) == 0
    assert "no mails until 24 December 2126, 00:00 UTC" in capsys.readouterr().out
    assert run(settings, "--once", found=[failing(3)]) == 0
    assert "1 open, 1 of them silenced" in capsys.readouterr().out
    run(settings, "show")
    said = " ".join(capsys.readouterr().out.split())
    assert "`drift inputs.mass` is silenced until 24 December 2126, 00:00 UTC by ada: a new scanner" in said
    assert run(settings, "silence", "drift inputs.mass", "--off") == 0
    assert run(settings, "--once") == 3


def test_what_is_over_is_said_once(tmp_path, capsys):
    settings = config(tmp_path)
    run(settings, "--once", found=[failing(1), failing(2)])
    assert run(settings, "--once", found=[passing(3)]) == 0
    assert "\n  over: drift of inputs.mass: distribution\n" in capsys.readouterr().out
    assert run(settings, "--once", found=[passing(4)]) == 0
    assert "over" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("silence",), "CAUSE is missing", "'drift inputs.mass'"),
        (
            ("silence", "drift inputs.mas", "--until", "2126-01-01"),
            "not a cause that is known",
            "'drift inputs.mass', 'decay accuracy'",
        ),
        (("silence", "drift inputs.mass"), "--until is missing", "e.g."),
        (("silence", "drift inputs.mass", "--until", "soon"), "'soon' is not a time", "e.g."),
        (("silence", "drift inputs.mass", "--until", "9999-12-31T23:00-12:00"), "-12:00' is not a time", "e.g."),
        (("silence", "drift inputs.mass", "--until", "2020-01-01"), "is over", "it is 20"),
        (("silence", "drift inputs.mass", "--until", "0001-01-01"), "is over", "it is 20"),
        (("silence", "drift inputs.mass", "--off"), "is not silenced", "silenced: nothing"),
        (("--once", "--since", "yesterday"), "'yesterday' is not a time", "e.g."),
        (("--once", "--since", "2126-01-01"), "is in the future", "it is 20"),
        (("--interval", "0"), "--interval: 0", "seconds"),
    ],
)
def test_wrong_words_are_named_with_what_to_write(tmp_path, words, message, hint):
    settings = config(tmp_path)
    run(settings, "--once", found=[failing(1)])
    with pytest.raises(ConfigError, match=message) as caught:
        run(settings, *words)
    assert hint in caught.value.hint


@pytest.mark.parametrize("cause", ["service latency", "decay sequence of errors"])
def test_what_every_model_has_is_silenced_before_it_was_ever_checked(tmp_path, cause):
    settings = config(tmp_path)
    assert run(settings, "silence", cause, "--until", "2126-01-01") == 0
    assert [each.cause for each in MonitorStore(settings).silences()] == [cause]


def test_a_cause_with_characters_that_nobody_sees_is_silenced_as_it_is_shown(tmp_path, capsys):
    settings, column = config(tmp_path), "inputs.ma\u200bss"
    windows = [health(n, replace(drift(), column=column)) for n in (1, 2)]
    run(settings, "--once", found=windows)
    capsys.readouterr()
    run(settings, "show")
    assert "`drift inputs.mass`" in capsys.readouterr().out
    assert run(settings, "silence", "drift inputs.mass", "--until", "2126-01-01") == 0
    assert [each.cause for each in MonitorStore(settings).silences()] == [f"drift {column}"]
    assert run(settings, "silence", "drift inputs.mass", "--off") == 0
    assert MonitorStore(settings).silences() == []


@pytest.mark.parametrize(
    ("what", "reason", "said"),
    [
        ("mae", "mae is 3.2 on 40 labelled answers", "mae is 3.2 on 40 labelled answers."),
        ("accuracy", "accuracy is 0.8 on 40 labelled answers", "Accuracy is 0.8 on 40 labelled answers."),
        ("sequence of errors", "errors have become more frequent", "Errors have become more frequent."),
    ],
)
def test_a_sentence_begins_with_a_capital_and_a_name_stays_as_it_is_written(what, reason, said):
    assert in_a_sentence(replace(decay(what=what), reason=reason)) == said


def test_a_second_monitor_ends_with_75(tmp_path):
    settings = config(tmp_path)
    with MonitorStore(settings).alone(), pytest.raises(TryAgain) as caught:
        run(settings, "--once")
    assert caught.value.exit_code == 75


def test_junit_has_a_case_for_each_check(tmp_path):
    settings, file = config(tmp_path), tmp_path / "junit" / "monitor.xml"
    run(settings, "--once", "--junit", str(file), found=[health(1, drift(), decay("unknown"), service())])
    root = ET.parse(file).getroot()
    assert {key: root.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    (case,) = [each for each in root.iter("testcase") if each.find("failure") is not None]
    assert (case.get("classname"), case.get("name")) == ("trainyard.monitor.drift", "inputs.mass distribution")
    assert case.find("failure").get("message").startswith("inputs.mass: on the holdout")


def test_what_was_found_is_for_its_owner_and_group_only(tmp_path):
    settings = config(tmp_path)
    run(settings, "--once", found=[failing(1)])
    assert MonitorStore(settings).folder.stat().st_mode & 0o007 == 0


def test_junit_before_the_first_window_is_a_file_without_cases(tmp_path):
    run(config(tmp_path), "--once", "--junit", str(tmp_path / "monitor.xml"))
    assert ET.parse(tmp_path / "monitor.xml").getroot().get("tests") == "0"


SERVICE = """
import errno
import sys
from pathlib import Path
from monitor_parts import config, failing, looking
from pipelines import __main__ as program
from pipelines.commands import monitor
from registry.errors import TryAgain, WorkerFailed
folder, calls = Path(sys.argv[1]), []
read = looking(failing(1), failing(2))
def look(*arguments):
    calls.append(arguments)
    if len(calls) in (1, 2):
        raise TryAgain("the disk is busy")
    if len(calls) == 3:
        raise WorkerFailed("the worker was killed")
    if len(calls) == 4:
        raise OSError(errno.ENOSPC, "No space left on device", "/a/file")
    return read(*arguments)
monitor.look = look
(folder / "trainyard.toml").write_text('model = "digits"\\n[repositories]\\ncode = "c"\\ndataset = "d"\\ntests = "t"\\n'
    '[mail]\\nsender = "t@company.example"\\nto = "owner@company.example"\\n')
sys.exit(program.main(["monitor", "--interval", "0.01", "--config", str(folder / "trainyard.toml")]))
"""


def test_as_a_service_it_stays_through_errors_that_pass_and_ends_with_0_when_it_is_stopped(tmp_path):
    path = os.pathsep.join(map(str, (HELPERS, HELPERS.parents[1])))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", SERVICE, tmp_path],
        env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = ""
    while "1 open" not in line:
        line = process.stdout.readline()
        assert line, process.stderr.read()
    state = tmp_path / ".trainyard" / "monitor" / "digits" / "state.json"
    before = state.stat().st_mtime_ns
    while state.stat().st_mtime_ns == before:  # once more, without a word
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.count("still monitoring, but: the disk is busy") == 1
    assert said.count("still monitoring, but: the worker was killed") == 1
    assert "still monitoring, but: /a/file: No space left on device" in said
    assert said.count("no mail server is set") == 1
    assert "stopped monitoring" in said
