"""The commands of the README and of its tutorial are run here, in a home of their own, block by block as a newcomer would."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
import requests
from newcomer import newcomer_in, token_in
from team import ROOT, Team, clean_environment

from pipelines.old_runs import size

README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial" / "your-own-repositories.md").read_text(encoding="utf-8")
COMMANDS, TEN_LINES, JENKINS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
BLOCKS = re.findall(r"```sh\n(.*?)```", TUTORIAL, flags=re.DOTALL)


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path_factory.mktemp("newcomer"), "penguins")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve penguins --stop")


def test_the_first_screen_names_the_two_commands():
    demo, test = COMMANDS.splitlines()
    assert demo.startswith("make demo")
    assert test.startswith("make test")  # which is how this test is run
    order = ("make test", "mail-and-report.png", "**What you write**", "**What it does not do yet**", "push to code ──")
    assert [README.index(each) for each in order] == sorted(README.index(each) for each in order)


def test_the_readme_shows_the_first_ten_lines_of_the_tutorial():
    assert BLOCKS[0] == TEN_LINES
    assert len(TEN_LINES.splitlines()) == 10


def test_the_tutorial_shows_the_settings_that_it_copies():
    (shown,) = re.findall(r"```toml\n(.*?)```", TUTORIAL, flags=re.DOTALL)
    assert shown == (ROOT / "examples" / "penguins" / "trainyard.toml").read_text(encoding="utf-8")


def what_you_write() -> dict[str, str]:
    """The files of the README's first screen: repository and name → text."""
    blocks = re.findall(
        r"```(?:python|toml)\n(# (code|dataset|tests) repository: ([\w.]+).*?)```", README, flags=re.DOTALL
    )
    return {f"{repository}/{name}": text for text, repository, name in blocks}


def test_what_you_write_is_three_files_and_ten_lines():
    files = what_you_write()
    assert set(files) == {"code/model.py", "dataset/dataset.toml", "tests/test_digits.py"}
    lines = [line for text in files.values() for line in text.splitlines() if line.strip() and line[0] != "#"]
    assert len(lines) == 10


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_ten_lines_become_a_candidate(tmp_path):
    team = Team(tmp_path)
    data = tmp_path / "data"
    command = [sys.executable, "-P", ROOT / "examples" / "write_data.py", data, "digits", "--part", "first"]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copytree(data / "pictures", tmp_path / "work" / "dataset", dirs_exist_ok=True)
    for path, text in what_you_write().items():
        repository, _, name = path.partition("/")
        team.write(repository, {name: text})
    for repository in ("code", "dataset", "tests"):
        team.push(repository)
    assert team.ask("run", "code", "--set", "training.epochs=20")["outcome"] == "done"
    (run,), version = team.runs("code"), team.home / "registry/test/digits/1"
    assert size(run) <= 1.2 * size(version), "what the registry has is not kept twice"


@pytest.mark.skipif(not shutil.which("curl"), reason="the tutorial asks the API with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_a_team_wires_its_own_three_repositories(newcomer):
    set_up, data, code, approve, go_on = BLOCKS
    newcomer(set_up)
    newcomer(data)
    pushed = newcomer(code)
    assert "ACCEPTED: push to code" in pushed.stderr
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    answered = newcomer(approve)
    assert '"class":"Gentoo"' in answered.stdout
    again, promote, *rest = go_on.splitlines()
    newcomer(again)
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    rolled = newcomer("\n".join((promote, *rest)))
    assert "version 1 is live: release 3" in rolled.stdout


@pytest.mark.long
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_the_demo_plays_to_its_end_and_leaves_the_api_running(tmp_path):
    """CI plays it twice itself: with a bucket, and in containers (`.ci/run`)."""
    command = [sys.executable, "-P", "-m", "pipelines", "demo", "--folder", str(tmp_path / "demo")]
    try:
        done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr.count("remote: ACCEPTED") == 3
        assert "That was the whole loop" in done.stdout
        url = re.findall(r"The API keeps running at (\S+)", done.stdout)[0]
        assert requests.get(f"{url}/health/ready", timeout=10).status_code == 200
    finally:
        subprocess.run([*command, "--stop"], cwd=ROOT, check=True, capture_output=True)


def test_the_demo_of_an_earlier_version_can_be_stopped(tmp_path):
    (tmp_path / ".trainyard-demo").touch()
    config = (ROOT / "examples" / "digits" / "trainyard.toml").read_text(encoding="utf-8")
    old = config.replace("\nport = 8500", '\nport = 8500\ngo_live = "process"')
    assert old != config
    (tmp_path / "trainyard.toml").write_text(old, encoding="utf-8")
    command = [sys.executable, "-P", "-m", "pipelines", "demo", "--folder", str(tmp_path), "--stop"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("digits: no API is running\n")
