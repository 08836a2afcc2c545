"""Commands where one repository holds several models: for one of them, for each, or for all together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from fake_jenkins import FakeJenkins
from team import free_port

from pipelines.__main__ import main
from pipelines.commands import hook, watch
from pipelines.jenkins_server import plugins
from pipelines.repositories import hook_call
from pipelines.runs import StepRecord

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]


class Yard:
    """A pipeline repository with the models `digits` and `cats`, whose repositories are folders of one."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self.bare, self.work = folder, folder / "animals.git", folder / "work"
        self.capsys = capsys
        for name in os.environ:
            if name.startswith("TRAINYARD_") or name == "JOB_NAME":
                monkeypatch.delenv(name)
        self.git("init", "-q", "--bare", self.bare)
        self.git("clone", "-q", self.bare, self.work)
        self.shared = folder / "trainyard.toml"
        self.shared.write_text(
            'home = "home"\n[repositories]\ncode = "animals.git"\ndataset = "animals.git"\ntests = "animals.git"\n'
        )
        for name in ("digits", "cats"):
            self.write(name)
            self.push(f"{name}/code/model.py", f"{name}/data/x", f"{name}/tests/x")
        monkeypatch.chdir(folder)

    def git(self, *arguments):
        return subprocess.run([*GIT, *map(str, arguments)], capture_output=True, text=True, check=True).stdout.strip()

    def write(self, name, more=""):
        folders = {"code": "code", "dataset": "data", "tests": "tests"}
        lines = [f'{role}_folder = "{name}/{inside}"' for role, inside in folders.items()]
        file = self.folder / "models" / name / "trainyard.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(["[repositories]", *lines, "[serving]", f"port = {free_port()}", more]))

    def push(self, *paths):
        for path in paths:
            file = self.work / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{file.read_text() if file.exists() else ''}more\n")
        self.git("-C", self.work, "add", "--all")
        self.git("-C", self.work, "commit", "-q", "-m", "a change")
        self.git("-C", self.work, "push", "-q", "origin", "HEAD:main")
        return self.git("-C", self.work, "rev-parse", "HEAD")

    def __call__(self, *arguments, code=0):
        """What a command prints; `err` has what it says beside it."""
        self.capsys.readouterr()
        found = main(list(arguments))
        caught = self.capsys.readouterr()
        self.err = caught.err
        assert found == code, caught.out + caught.err
        return caught.out

    def ask(self, *arguments, code=0):
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def yard(tmp_path, monkeypatch, capsys):
    return Yard(tmp_path, monkeypatch, capsys)


class Begun(list):
    """What would be run, as (model, trigger): each run ends at once, with the code of its model in `codes`."""

    def __init__(self):
        super().__init__()
        self.codes = {}

    def run(self, config, request):
        self.append((config.model, request.trigger))
        return None, StepRecord("accept", "done", "", "", 0.0), self.codes.get(config.model, 0)


@pytest.fixture
def begun(monkeypatch):
    found = Begun()
    for module in (watch, hook):
        monkeypatch.setattr(module, "run_pipeline", found.run)
    return found


class TestOne:
    def test_the_option_may_stand_before_the_command_or_behind_it(self, yard):
        assert json.loads(yard("--model", "cats", "config", "show", "--json"))["settings"]["model"] == "cats"
        assert yard.ask("config", "show", "--model", "digits")["settings"]["model"] == "digits"

    def test_the_environment_or_the_folder_chooses_one(self, yard, monkeypatch):
        monkeypatch.setenv("TRAINYARD_MODEL", "cats")
        assert yard.ask("config", "show")["settings"]["model"] == "cats"
        monkeypatch.delenv("TRAINYARD_MODEL")
        monkeypatch.chdir(yard.folder / "models" / "digits")
        assert yard.ask("config", "show")["settings"]["model"] == "digits"

    @pytest.mark.parametrize(
        "command",
        [
            "run code",
            "step train --run x",
            "config show",
            "runs show",
            "jenkins trigger code",
            "notify --test",
            "monitor silence x",
            "labels queue",
            "token list",
            "lineage",
        ],
    )
    def test_a_command_for_one_lists_them_when_none_is_named(self, yard, command):
        yard(*command.split(), code=2)
        assert "which model? There are cats, digits" in yard.err
        assert "hint: --model NAME chooses one" in yard.err

    def test_an_unknown_one_is_refused_with_those_that_there_are(self, yard):
        for words in (["--model", "dogs", "run", "code"], ["serve", "dogs", "--status"], ["labels", "queue", "dogs"]):
            yard(*words, code=2)
            assert "has no model 'dogs'" in yard.err
            assert "hint: its models: cats, digits" in yard.err

    def test_the_model_of_a_command_is_the_one(self, yard):
        yard("serve", "cats", "--status", code=3)
        yard("promote", "cats", "1", "--approval", "x", code=2)
        assert "which model" not in yard.err

    def test_a_command_for_another_than_the_environment_says_is_refused(self, yard, monkeypatch):
        monkeypatch.setenv("TRAINYARD_MODEL", "cats")
        yard("promote", "digits", "1", "--approval", "x", code=2)
        assert "is about model 'cats', not 'digits'" in yard.err

    def test_of_a_single_model_the_name_must_be_right(self, yard):
        text = yard.shared.read_text(encoding="utf-8")
        yard.shared.write_text(f'model = "one"\n{text}', encoding="utf-8")
        assert yard.ask("--model", "one", "config", "show")["settings"]["model"] == "one"
        yard("--model", "cats", "config", "show", code=2)
        assert "is about model 'one'" in yard.err

    def test_what_is_wrong_with_another_is_nothing_to_it(self, yard):
        yard.write("cats", "nonsense = 1")
        assert yard.ask("config", "show", "--model", "digits")["settings"]["model"] == "digits"
        yard("runs", "list", code=2)
        assert "models/cats/trainyard.toml: serving.nonsense: unknown setting" in yard.err


class TestEach:
    def test_the_results_of_all_are_one_table(self, yard):
        assert yard.ask("runs", "list").keys() == {"cats", "digits"}
        assert {each["bytes"] for each in yard.ask("clean", "--dry-run").values()} == {0}
        assert "cats:\n" in yard("runs", "list")

    def test_what_fails_for_one_does_not_stop_the_others(self, yard):
        yard("registry", "show", code=2)
        assert yard.err.count("has no version yet") == 2
        assert "cats: cats has no version yet" in yard.err

    def test_a_registry_that_they_share_is_asked_once(self, yard):
        assert "keys" in yard.ask("keys", "make")
        assert "whole" in yard("registry", "verify") or "problems" in yard.ask("registry", "verify")
        yard("registry", "history", "gone", code=2)
        assert "the registry has no model 'gone'" in yard.err
        yard.write("cats", '[registry]\nurl = "file://own"')
        yard("keys", "list", code=2)
        assert "keys: which model?" in yard.err


class TestService:
    def test_one_unit_watches_all(self, yard):
        unit = yard("service", "install", "watch", "--user", "--print")
        assert f" -m pipelines watch --config {yard.shared}\n" in unit
        assert f"WorkingDirectory={yard.folder}\n" in unit
        own = yard("service", "install", "watch", "--user", "--print", "--model", "cats")
        assert f" -m pipelines watch --config {yard.folder}/models/cats/trainyard.toml\n" in own
        assert "Description=Trainyard: pipelines of cats," in own

    def test_each_api_has_its_own(self, yard):
        yard("service", "install", "serve", "--user", "--print", code=2)
        assert "which model?" in yard.err


class TestDoctor:
    def found(self, yard, code=0):
        said = yard.ask("doctor", code=code)
        return {each["check"]: (each["state"], each["what"]) for each in said["checks"]}

    def test_what_they_have_in_common_is_said_once_and_the_rest_by_model(self, yard):
        found = self.found(yard)
        assert found["models"] == ("ok", "cats, digits")
        assert {"cats: config", "digits: config", "python", "disk", "registry", "repository code"} <= found.keys()
        assert {"cats: serving", "digits: serving"} <= found.keys()
        assert not {"cats: disk", "serving"} & found.keys()

    def test_a_file_that_is_wrong_is_a_finding_and_the_others_are_checked(self, yard):
        yard.write("cats", "nonsense = 1")
        found = self.found(yard, code=2)
        assert found["cats: config"][0] == "fail"
        assert "models/cats/trainyard.toml: serving.nonsense" in found["cats: config"][1]
        assert found["serving"][0] == "ok"

    def test_two_apis_on_one_port_are_a_finding(self, yard):
        port = json.dumps(yard.ask("config", "show", "--model", "cats")["settings"]["serving"]["port"])
        text = (
            (yard.folder / "models" / "cats" / "trainyard.toml").read_text(encoding="utf-8").replace("cats", "digits")
        )
        (yard.folder / "models" / "digits" / "trainyard.toml").write_text(text, encoding="utf-8")
        state, what = self.found(yard, code=2)["models"]
        assert (state, what) == ("fail", f"cats and digits: serving.port: both APIs would listen on port {port}")


class TestWatch:
    def test_one_watcher_runs_what_is_new_of_each(self, yard, begun):
        yard("watch", "--once")
        assert begun == [("cats", "code"), ("digits", "code")]
        yard("watch", "--once")
        yard.push("digits/data/x")
        yard("watch", "--once")
        assert begun[2:] == [("digits", "tests"), ("cats", "tests")] or begun[2:][-1] == ("digits", "dataset")
        assert ("cats", "dataset") not in begun
        assert "digits: new in dataset" in yard.err

    def test_the_exit_code_is_the_worst(self, yard, begun):
        begun.codes |= {"digits": 3, "cats": 75}
        yard("watch", "--once", code=3)

    def test_one_of_one_model_is_its_own(self, yard, begun):
        yard("watch", "--once", "--model", "digits")
        assert begun == [("digits", "code")]


def test_a_single_model_becomes_the_first_of_several_and_keeps_what_it_has(yard, begun):
    """As docs/how-to/many-models.md has it."""
    shutil.rmtree(yard.folder / "models")
    yard.shared.write_text(f'model = "digits"\n{yard.shared.read_text()}')
    yard("watch", "--once")
    yard("keys", "make")
    before = yard.ask("keys", "list")["keys"]
    (yard.folder / "models" / "digits").mkdir(parents=True)
    text = yard.shared.read_text().replace("animals.git", "../../animals.git").replace('home = "home"\n', "")
    (yard.folder / "models" / "digits" / "trainyard.toml").write_text(text)
    yard.shared.write_text('home = "home"\n')
    (yard.folder / "home" / "models" / "digits").mkdir(parents=True)
    (yard.folder / "home" / "watch.json").rename(yard.folder / "home" / "models" / "digits" / "watch.json")
    yard("watch", "--once")
    assert begun == [("digits", "code")]
    assert yard.ask("keys", "list")["keys"] == before


class TestMonitor:
    def test_models_without_a_prediction_log_are_left_out(self, yard):
        yard.write("cats", "[prediction_log]\nenabled = true")
        said = yard("monitor", "--once")
        assert "not monitored, as [prediction_log] enabled is false: digits\n" in yard.err
        assert said.startswith("cats:\n")
        assert "digits" not in said

    def test_where_no_model_has_one_each_is_an_error(self, yard):
        yard("monitor", "--once", code=2)
        assert "cats: [prediction_log] enabled is false" in yard.err
        assert "digits: [prediction_log] enabled is false" in yard.err


class TestHooks:
    def hook_text(self, yard):
        return (yard.bare / "hooks" / "post-receive").read_text(encoding="utf-8")

    def test_a_repository_of_several_has_one_hook_for_all(self, yard):
        installed = yard("hooks", "install")
        roles = [f"{model}:{role}" for model in ("cats", "digits") for role in hook_call.ROLES]
        assert installed == f"{', '.join(roles)}: {yard.bare}/hooks/post-receive installed\n"
        assert f" hook {' '.join(roles)} --config {yard.shared}\n" in self.hook_text(yard)
        found = {each["check"]: each["what"] for each in yard.ask("doctor")["checks"]}
        assert found["hooks"] == "a push to code, dataset, tests starts the pipeline"

    def test_one_after_the_other_they_are_added_and_removed(self, yard):
        yard("hooks", "install", "code", "--model", "digits")
        yard("hooks", "install", "tests", "--model", "cats")
        assert " hook cats:tests digits:code --config " in self.hook_text(yard)
        yard("hooks", "remove", "--model", "digits")
        assert " hook cats:tests --config " in self.hook_text(yard)
        yard("hooks", "remove", "--model", "cats")
        assert not (yard.bare / "hooks" / "post-receive").exists()

    def test_a_path_for_repositories_that_differ_needs_a_name(self, yard):
        yard.write("cats", '[mail]\nto = "a@example.org"')
        yard.shared.write_text(yard.shared.read_text().replace('code = "animals.git"\n', ""))
        for name in ("cats", "digits"):
            file = yard.folder / "models" / name / "trainyard.toml"
            file.write_text(
                file.read_text().replace("code_folder", f'code = "https://git.example.org/{name}.git"\ncode_folder')
            )
        yard("hooks", "install", f"code={yard.bare}", code=2)
        assert "which model?" in yard.err

    def pushed(self, yard, old, new, monkeypatch, *roles, code=0):
        monkeypatch.setattr(sys, "stdin", [f"{old} {new} refs/heads/main\n"])
        monkeypatch.setattr(os, "setsid", lambda: None)
        yard("hook", *roles, "--config", str(yard.shared), code=code)

    def test_a_push_runs_the_models_whose_folders_it_touched(self, yard, begun, monkeypatch):
        roles = [f"{model}:{role}" for model in ("cats", "digits") for role in hook_call.ROLES]
        old = yard.git("-C", yard.work, "rev-parse", "HEAD")
        new = yard.push("digits/data/x")
        self.pushed(yard, old, new, monkeypatch, *roles)
        assert begun == [("digits", "dataset")]
        assert "Trainyard runs no pipeline of cats" in yard.err
        self.pushed(yard, new, yard.push("digits/tests/x", "cats/code/model.py"), monkeypatch, *roles)
        assert begun[1:] == [("cats", "code"), ("digits", "tests")]

    def test_a_model_that_is_wrong_or_gone_is_shown_and_the_others_are_run(self, yard, begun, monkeypatch):
        yard.write("cats", "nonsense = 1")
        old = yard.git("-C", yard.work, "rev-parse", "HEAD")
        new = yard.push("digits/code/model.py", "cats/code/model.py")
        self.pushed(yard, old, new, monkeypatch, "cats:code", "digits:code", "dogs:code", code=2)
        assert begun == [("digits", "code")]
        assert "cats: " in yard.err
        assert "serving.nonsense" in yard.err
        assert "dogs: no run" in yard.err


@pytest.fixture
def jenkins(yard, monkeypatch):
    """A Jenkins, and settings for it that the models share."""
    with FakeJenkins() as server:
        server.state.plugins = {name: {"version": each.tested} for name, each in plugins.REQUIRED.items()}
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", server.token)
        home = yard.folder.parent / "home"
        yard.shared.write_text(
            f'home = "{home}"\n[repositories]\ncode = "https://git.example.org/zoo.git"\ndataset = "https://git.example.org/zoo.git"\n'
            'tests = "https://git.example.org/zoo.git"\n'
            f'[jenkins]\nurl = "{server.url}"\nuser = "{server.user}"\nrepository = "https://git.example.org/p.git"\nfolder = "ml"\n'
        )
        yield server


class TestJenkins:
    def test_a_folder_for_each_whose_jobs_know_their_model(self, yard, jenkins):
        done = yard.ask("jenkins", "apply")
        assert [each["name"] for each in done["cats"]["items"]][:3] == ["ml", "ml/cats", "ml/cats/code"]
        for name in ("cats", "digits"):
            for job in ("code", "dataset", "tests", "promotion"):
                assert jenkins.state.find(f"ml/{name}/{job}").defaults()["TRAINYARD_MODEL"] == name
            watched = jenkins.state.find(f"ml/{name}/dataset").defaults()
            assert (watched["WATCHED_URL"], watched["WATCHED_FOLDER"]) == (
                "https://git.example.org/zoo.git",
                f"{name}/data",
            )
        again = yard.ask("jenkins", "apply")
        assert {item["action"] for each in again.values() for item in each["items"]} == {"unchanged"}

    def test_the_same_as_files(self, yard, jenkins, tmp_path):
        yard("jenkins", "export", "--to", str(tmp_path / "jobs"))
        assert "folder of several models" in (tmp_path / "jobs" / "ml.xml").read_text(encoding="utf-8")
        assert "folder of model cats" in (tmp_path / "jobs" / "ml" / "cats.xml").read_text(encoding="utf-8")
        assert len(list((tmp_path / "jobs").rglob("*.xml"))) == 11

    def test_no_two_may_have_one_folder(self, yard, jenkins):
        for name in ("cats", "digits"):
            yard.write(name, '[jenkins]\nfolder = "same"')
        yard("jenkins", "apply", code=2)
        assert "jenkins.folder: the jobs of both would be in same" in yard.err
        assert not jenkins.posts()

    def test_a_home_inside_of_the_checkout_is_refused(self, yard, jenkins):
        yard.shared.write_text(yard.shared.read_text().replace("home = ", 'home = "models/home"  # '))
        yard("jenkins", "apply", code=2)
        assert yard.err.count("home: 'models/home' is inside the pipeline's checkout") == 2

    def test_a_build_gets_at_no_other_model_by_its_parameters(self, yard, jenkins, monkeypatch):
        monkeypatch.setenv("JOB_NAME", "ml/cats/promotion")
        monkeypatch.setenv("TRAINYARD_MODEL", "cats")
        yard("config", "show")
        monkeypatch.setenv("TRAINYARD_MODEL", "digits")
        yard("config", "show", code=2)
        assert (
            "TRAINYARD_MODEL is digits, whose Jenkins jobs are in the folder ml/digits, and this is ml/cats/promotion"
            in yard.err
        )
        monkeypatch.delenv("TRAINYARD_MODEL")
        yard("config", "show", "--model", "digits")

    def test_a_single_model_has_the_jobs_that_it_always_had(self, yard, jenkins):
        shutil.rmtree(yard.folder / "models")
        yard.shared.write_text(f'model = "digits"\n{yard.shared.read_text()}')
        yard("jenkins", "apply")
        assert "TRAINYARD_MODEL" not in jenkins.state.find("ml/code").defaults()
        assert "folder of model digits" in jenkins.state.find("ml").tree.findtext("description")
