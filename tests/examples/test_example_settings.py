"""The settings of the examples are valid, and say what the folders hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines.config.load import load_config
from training.data.dataset_toml import load_dataset_file

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SETTINGS = sorted(EXAMPLES.glob("*/trainyard.toml"))
DATASETS = sorted(EXAMPLES.glob("*/dataset/dataset.toml"))


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=[str(path.relative_to(EXAMPLES)) for path in paths])


@named(SETTINGS)
def test_every_setting_is_known(path):
    config = load_config(path, environment={})
    assert config.repositories.branch == "main"
    assert not config.mail.host, "an example must not send mail"


@named(DATASETS)
def test_every_dataset_is_described(path):
    assert load_dataset_file(path.parent).split.holdout > 0


def test_ports_differ():
    ports = [load_config(path, environment={}).serving.port for path in SETTINGS]
    assert len(ports) == len(set(ports))


@named([path for path in sorted(EXAMPLES.glob("*/code/model.py")) if not (path.parent / "train.py").exists()])
def test_models_keep_the_contract(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {
        node.name: [each.arg for each in node.args.args] for node in tree.body if isinstance(node, ast.FunctionDef)
    }
    assert functions["build_model"] == ["spec", "attempt"]


def test_the_own_script_is_where_the_settings_say():
    folder = EXAMPLES / "tutorial_script"
    command = load_config(folder / "trainyard.toml", environment={}).training.command
    assert command[0] == "python"
    assert (folder / "code" / command[1]).is_file()
