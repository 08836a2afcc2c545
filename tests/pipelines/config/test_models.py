"""Several models in one repository: which one is meant, what they share, and which file a problem is in."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.clashes import clashes
from pipelines.config.layers import merged
from pipelines.config.load import find_config, load_config
from pipelines.config.models import Asked, choose, model_files, must_be_one
from registry.errors import ConfigError

SHARED = """
[repositories]
code = "animals.git"
dataset = "https://git.example.org/data.git"
tests = "animals.git"
[mail]
to = ["boss@example.org", "deputy@example.org"]
[gate]
threshold = 0.8
"""


class Yard:
    """A pipeline repository with the models that it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "trainyard.toml"

    def write(self, shared: str, **models: str) -> Yard:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shared.write_text(shared, encoding="utf-8")
        for name, text in models.items():
            self.file(name).parent.mkdir(parents=True, exist_ok=True)
            self.file(name).write_text(text, encoding="utf-8")
        return self

    def file(self, name: str) -> Path:
        return self.folder / "models" / name / "trainyard.toml"

    def load(self, name: str, environment=None, overrides=()):
        return load_config(self.file(name), environment or {}, overrides)

    def choose(self, environment=None, *, found=None, **asked):
        chosen = choose(found or self.shared, environment or {}, Asked(**asked))
        return [each.parent.name for each in chosen.files]


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path / "yard").write(SHARED, digits="", cats="[serving]\nport = 8501\n")


class TestWhichOne:
    def test_without_a_name_all_are_meant(self, yard):
        assert yard.choose() == ["cats", "digits"]

    @pytest.mark.parametrize("asked", [{"flag": "cats"}, {"argument": "cats"}])
    def test_a_flag_or_the_commands_own_argument_names_one(self, yard, asked):
        assert yard.choose(**asked) == ["cats"]

    def test_the_folder_in_which_a_command_runs_names_one(self, yard, monkeypatch):
        monkeypatch.chdir(yard.file("cats").parent)
        assert yard.choose(found=find_config(None, {})) == ["cats"]

    def test_in_the_folder_models_all_are_meant(self, yard, monkeypatch):
        monkeypatch.chdir(yard.folder / "models")
        assert yard.choose(found=find_config(None, {})) == ["cats", "digits"]

    def test_each_way_to_name_one_has_its_rank(self, yard):
        inside, environment = yard.file("digits"), {"TRAINYARD_MODEL": "cats"}
        assert yard.choose(environment, found=inside, flag="digits", argument="cats") == ["digits"]
        assert yard.choose(environment, found=inside, argument="digits") == ["cats"]
        assert yard.choose(found=inside, argument="cats") == ["cats"]
        assert yard.choose(environment, found=inside, config=str(inside)) == ["digits"]

    def test_a_flag_that_contradicts_the_file_is_refused(self, yard):
        with pytest.raises(ConfigError, match="--model cats, but --config"):
            yard.choose(found=yard.file("digits"), config="x", flag="cats")

    @pytest.mark.parametrize(
        "name", ["dogs", "..", ".", "../yard", "Cats", "cats/", "/etc", "cats/../digits", "*", "c" * 300, "a\0b"]
    )
    def test_an_unknown_name_is_refused_with_those_that_there_are(self, yard, name):
        with pytest.raises(ConfigError, match="has no model") as error:
            yard.choose(flag=name)
        assert error.value.hint == "its models: cats, digits"

    def test_a_folder_without_a_file_says_what_it_lacks(self, yard):
        (yard.folder / "models" / "dogs").mkdir()
        assert yard.choose() == ["cats", "digits"]
        with pytest.raises(ConfigError, match=r"has no model 'dogs': models/dogs has no trainyard\.toml"):
            yard.choose(argument="dogs")

    def test_a_command_for_one_lists_them_when_none_is_named(self, yard):
        chosen = choose(yard.shared, {}, Asked())
        with pytest.raises(ConfigError, match="which model\\? There are cats, digits") as error:
            must_be_one(chosen)
        assert "--model NAME" in error.value.hint

    def test_the_only_one_need_not_be_named(self, yard):
        shutil.rmtree(yard.file("cats").parent)
        assert must_be_one(choose(yard.shared, {}, Asked())) == yard.file("digits")


class TestASingleModel:
    """A file that names its model is all there is, whatever lies beside it."""

    def test_folders_beside_it_do_not_count(self, yard):
        yard.write('model = "one"\n' + SHARED)
        assert model_files(yard.shared) == {}
        assert choose(yard.shared, {"TRAINYARD_MODEL": "cats"}, Asked()).files == (yard.shared,)
        assert load_config(yard.shared, {}).shared == ""

    def test_a_file_in_models_without_one_above_is_read_alone(self, yard):
        yard.shared.unlink()
        yard.file("digits").write_text('home = "here"\nmodel = "other"\n' + SHARED, encoding="utf-8")
        config = yard.load("digits")
        assert (config.model, config.shared, config.home) == ("other", "", str(yard.file("digits").parent / "here"))
        assert config.runs == Path(config.home) / "runs"

    def test_without_a_file_above_the_folder_models_says_what_is_missing(self, yard, monkeypatch):
        yard.shared.unlink()
        monkeypatch.chdir(yard.folder)
        with pytest.raises(ConfigError, match=r"no trainyard\.toml in") as error:
            find_config(None, {})
        assert "create it beside models/" in error.value.hint


class TestWhatTheyShare:
    def test_a_model_is_called_as_its_folder(self, yard):
        assert yard.load("digits").model == "digits"
        yard.write(SHARED, digits='model = "digits"\n')
        assert yard.load("digits").model == "digits"

    def test_its_own_file_has_the_last_word(self, yard):
        yard.write(SHARED, digits='[mail]\nto = "ada@example.org"\n[gate]\nmin_samples = 7\n')
        config = yard.load("digits")
        assert config.mail.to == ("ada@example.org",)
        assert (config.gate.threshold, config.gate.min_samples) == (0.8, 7)
        assert yard.load("cats").mail.to == ("boss@example.org", "deputy@example.org")

    def test_tables_in_tables_are_merged_and_lists_are_replaced(self, yard):
        slices = '[gate.slices]\nisland = ["Dream"]\n[prediction_log.columns]\nname = "no"\nage = "bin"\n'
        own = '[gate.slices]\nisland = ["Biscoe"]\nsex = ["f"]\n[prediction_log.columns]\nage = "value"\n'
        config = yard.write(SHARED + slices, digits=own).load("digits")
        assert {name: list(each) for name, each in config.gate.slices.items()} == {"island": ["Biscoe"], "sex": ["f"]}
        assert config.prediction_log.columns == {"name": "no", "age": "value"}

    def test_environment_and_flags_stand_above_both(self, yard):
        yard.write(SHARED, digits="[gate]\nthreshold = 0.7\n")
        assert yard.load("digits", {"TRAINYARD_GATE_THRESHOLD": "0.6"}).gate.threshold == 0.6
        assert yard.load("digits", {"TRAINYARD_GATE_THRESHOLD": "0.6"}, ["gate.threshold=0.5"]).gate.threshold == 0.5

    def test_the_variable_that_chooses_renames_no_model(self, yard):
        assert yard.load("digits", {"TRAINYARD_MODEL": "cats"}).model == "digits"

    def test_each_path_is_relative_to_the_file_that_it_is_in(self, yard):
        yard.write(SHARED + '[cache]\nurl = "file://cache"\n', digits='[repositories]\ntests = "own.git"\n')
        config = yard.load("digits")
        assert config.repositories.code == str(yard.folder / "animals.git")
        assert config.repositories.tests == str(yard.file("digits").parent / "own.git")
        assert config.cache.url == f"file://{yard.folder}/cache"
        assert yard.load("digits", {"TRAINYARD_REPOSITORIES_TESTS": "x.git"}).repositories.tests == str(
            yard.folder / "x.git"
        )

    def test_home_and_registry_are_shared_and_runs_are_not(self, yard):
        digits, cats = yard.load("digits"), yard.load("cats")
        assert digits.home == cats.home == str(yard.folder / ".trainyard")
        assert digits.registry == cats.registry
        assert digits.runs == Path(digits.home) / "models" / "digits" / "runs"
        assert digits.runs != cats.runs

    def test_a_folder_of_jenkins_that_is_shared_holds_one_for_each(self, yard):
        yard.write(SHARED + '[jenkins]\nfolder = "/ml/"\n', cats='[jenkins]\nfolder = "zoo/cats"\n')
        assert yard.load("digits").jenkins.folder == "ml/digits"
        assert yard.load("cats").jenkins.folder == "zoo/cats"
        assert yard.load("cats", {"TRAINYARD_JENKINS_FOLDER": "ci"}).jenkins.folder == "ci/cats"

    @given(
        st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=12),
        st.data(),
    )
    def test_a_merged_table_has_what_the_upper_one_says_and_else_what_the_lower_one_says(self, tree, data):
        tables = st.dictionaries(st.sampled_from("abc"), st.just(tree) | st.integers())
        below, above = data.draw(tables), data.draw(tables)
        found = merged(below, above)
        assert found.keys() == below.keys() | above.keys()
        for name, value in found.items():
            if name not in above:
                assert value == below[name]
            elif isinstance(above[name], dict) and isinstance(below.get(name), dict):
                assert value == merged(below[name], above[name])
            else:
                assert value == above[name]
        assert merged(below, {}) == below
        assert merged(found, above) == found


LINES = {
    "home": 'home = "state"',
    "repositories": 'code = "animals.git#zoo"\nbranch = "release"\ndataset = "https://git.example.org/data.git"\ntests = "t"',
    "gate": "threshold = 0.7\nmin_samples = 30\nslices = {island = ['Dream']}",
    "mail": 'to = ["a@example.org", "b@example.org"]\nfailures_to = "both"',
    "serving": "port = 8507\nworkers = 1",
    "prediction_log": 'columns = {age = "bin"}\nenabled = true',
    "registry": 'url = "file://memory"\narchive = "old"',
}
EACH = [(section, line) for section, lines in LINES.items() for line in lines.splitlines()]


def text_of(lines):
    sections = {section: [line for name, line in lines if name == section] for section, _ in lines}
    first = "\n".join(sections.pop("home", []))
    return "\n".join([first, *("\n".join([f"[{name}]", *each]) for name, each in sections.items())])


def seen_from_below(line):
    """A line with the same path, as it is written in a folder of `models/`."""
    name, sign, value = line.partition(' = "')
    if name not in {"home", "code", "tests", "archive", "url"}:
        return line
    return f"{name}{sign}file://../../{value[7:]}" if value.startswith("file://") else f"{name}{sign}../../{value}"


@given(st.sets(st.sampled_from(EACH)))
def test_it_is_the_same_whether_a_setting_is_in_the_shared_file_or_in_the_models_own(tmp_path_factory, own):
    folder = tmp_path_factory.mktemp("yards")
    single = folder / "single" / "trainyard.toml"
    single.parent.mkdir()
    single.write_text('model = "digits"\n' + text_of(EACH), encoding="utf-8")
    upwards = [(section, seen_from_below(line)) for section, line in own]
    shared = text_of([each for each in EACH if each not in own])
    yard = Yard(folder / "single" / "yard").write(shared, digits=text_of(upwards))
    expected, found = load_config(single, {}), yard.load("digits")
    moved = dataclasses.asdict(found) | {"file": expected.file, "shared": ""}
    assert json.loads(json.dumps(moved).replace("/single/yard/", "/single/")) == json.loads(
        json.dumps(dataclasses.asdict(expected))
    )


class TestWhatIsWrong:
    def said(self, yard, name="digits", **how):
        with pytest.raises(ConfigError) as error:
            yard.load(name, **how)
        return str(error.value)

    def test_each_problem_is_reported_with_the_file_that_it_is_in(self, yard):
        yard.write(SHARED + "[serving]\nport = 99999\n", digits="[gate]\ntreshold = 1\n[training]\nepochs = 0\n")
        assert self.said(yard) == (
            f"{yard.shared}: serving.port: 99999 is not between 0 and 65535; "
            f"{yard.file('digits')}: gate.treshold: unknown setting, did you mean gate.threshold?; "
            "training.epochs: 0 is not between 1 and 100000"
        )

    def test_what_is_wrong_in_the_shared_file_is_reported_although_a_model_overrules_it(self, yard):
        yard.write(SHARED + "[serving]\nport = 99999\n", digits="[serving]\nport = 8500\n")
        assert self.said(yard).startswith(f"{yard.shared}: serving.port")

    def test_a_wrong_entry_of_a_shared_table_is_not_reported_of_the_model(self, yard):
        yard.write(SHARED + '[prediction_log.columns]\nage = "all"\n', digits='[prediction_log.columns]\nname = "no"\n')
        assert self.said(yard).startswith(f"{yard.shared}: prediction_log.columns: 'age'")

    def test_a_required_setting_that_is_wrong_is_not_called_missing(self, yard):
        yard.write(SHARED.replace('"animals.git"', "3", 1))
        assert self.said(yard) == f"{yard.shared}: repositories.code: 3 is not a text"

    def test_what_both_lack_is_the_models_to_add(self, yard):
        yard.write("")
        assert self.said(yard).startswith(f"{yard.file('digits')}: repositories.code: missing; ")

    @pytest.mark.parametrize(
        ("shared", "own", "where"),
        [
            ('[mail]\nto = "nobody"\n', "", "shared"),
            ("", '[mail]\nto = "nobody"\n', "own"),
            ('[registry]\nurl = "s3://A"\n', "", "shared"),
            ('[serving]\ncertfile = "x"\n', "", "shared"),
        ],
    )  # fmt: skip
    def test_settings_that_disagree_are_reported_with_their_file(self, yard, shared, own, where):
        yard.write("[repositories]\ncode = 'a'\ndataset = 'b'\ntests = 'c'\n" + shared, digits=own)
        assert self.said(yard).startswith(f"{yard.shared if where == 'shared' else yard.file('digits')}: ")

    def test_a_file_that_is_no_toml_is_named(self, yard):
        yard.write("[repositories")
        assert self.said(yard).startswith(f"{yard.shared}: not TOML")
        yard.write(SHARED, digits="x = ")
        assert self.said(yard).startswith(f"{yard.file('digits')}: not TOML")

    def test_a_model_that_is_not_called_as_its_folder(self, yard):
        yard.write(SHARED, digits='model = "numbers"\n')
        assert "model: 'numbers' is in models/digits, and a model is called as its folder" in self.said(yard)
        assert "--set model=x: a model is called as its folder" in self.said(yard, "cats", overrides=["model=x"])

    @pytest.mark.parametrize("what", ["the folder", "the file"])
    def test_a_link_which_would_hide_the_shared_file_is_refused(self, yard, what):
        linked = yard.file("cats").parent if what == "the folder" else yard.file("cats")
        linked.rename(yard.folder / "elsewhere")
        linked.symlink_to(yard.folder / "elsewhere")
        assert "models/cats is a link, or its file is one" in self.said(yard, "cats")

    @pytest.mark.parametrize("name", ["a b", "-x", "a.b", "é!", "x" * 65])
    def test_a_folder_that_can_be_no_model(self, yard, name):
        yard.write(SHARED, **{name: ""})
        assert f"model: {name!r}, the name of its folder, may hold letters, digits, - and _ only" in self.said(
            yard, name
        )


class TestClashes:
    def configs(self, yard, **models):
        yard.write(SHARED + '[jenkins]\nurl = "https://ci.example.org"\n', **models)
        return [yard.load(name) for name in models]

    def test_ports_that_differ_clash_with_none(self, yard):
        assert not list(clashes(self.configs(yard, digits="", cats="[serving]\nport = 8501\n")))

    @pytest.mark.parametrize(
        ("own", "words"),
        [
            ("", "serving.port: both APIs would listen on port 8500"),
            ('[serving]\nhost = "0.0.0.0"\n', "serving.port"),
            ("[serving]\nport = 8501\ngrpc_port = 8500\n", "serving.port and serving.grpc_port"),
            (
                '[serving]\nport = 8501\n[jenkins]\nfolder = "digits"\n',
                "jenkins.folder: the jobs of both would be in digits",
            ),
        ],
    )
    def test_what_two_cannot_have_in_common_is_named(self, yard, own, words):
        (found,) = clashes(self.configs(yard, digits="", cats=own))
        assert found.startswith("digits and cats: ")
        assert words in found

    @pytest.mark.parametrize(
        "own", ['[serving]\nhost = "10.0.0.1"\n', "[serving]\nport = 0\n", '[serving]\ndeploy = "jenkins"\n']
    )
    def test_another_address_another_machine_or_any_free_port_is_no_clash(self, yard, own):
        assert not list(clashes(self.configs(yard, digits="", cats=own)))

    def test_any_free_port_of_both_is_no_clash(self, yard):
        assert not list(clashes(self.configs(yard, digits="[serving]\nport = 0\n", cats="[serving]\nport = 0\n")))

    def test_names_that_differ_in_case_only(self, yard):
        one, other = self.configs(yard, digits="", cats="[serving]\nport = 8501\n")
        (found,) = clashes([one, dataclasses.replace(other, model="Digits")])
        assert "upper and lower case" in found
