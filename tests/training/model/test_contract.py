"""What `model.py` offers, found out without running it."""

import subprocess
import sys

import pytest

from registry.errors import ConfigError
from training.model.contract import offers


def test_functions_are_found_by_name(tmp_path):
    (tmp_path / "model.py").write_text(
        "from mine import fit, other as augment\nraise SystemExit\ndef load_data(folder): pass\nretrain = 1\n"
        "class Net:\n    def build_model(self): pass\n"
    )
    found = [
        name for name in ("load_data", "fit", "augment", "other", "retrain", "build_model") if offers(tmp_path, name)
    ]
    assert found == ["load_data", "fit", "augment", "retrain"]


def test_a_star_import_gives_what_the_module_beside_it_gives(tmp_path):
    (tmp_path / "model.py").write_text("from keras.layers import *\nfrom mine import *\nfrom parts import *\n")
    (tmp_path / "mine.py").write_text("from model import *\nfit = 1\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("def load_data(folder): pass\n")
    assert [offers(tmp_path, name) for name in ("fit", "load_data", "augment")] == [True, True, False]


@pytest.mark.parametrize(
    "line", ["load_data = reader('csv')", "if True:\n    from mine import load_data", "import mine as load_data"]
)
def test_a_function_may_be_given_in_other_ways_than_by_def(tmp_path, line):
    (tmp_path / "model.py").write_text(f"{line}\n")
    assert offers(tmp_path, "load_data")


@pytest.mark.parametrize("line", ["# load_data", "print(load_data)", "class Net:\n    def load_data(self): pass"])
def test_a_word_is_not_a_function(tmp_path, line):
    (tmp_path / "model.py").write_text(f"{line}\n")
    assert not offers(tmp_path, "load_data")


def test_a_model_py_that_is_not_python_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"no model\.py"):
        offers(tmp_path, "fit")
    (tmp_path / "model.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(ConfigError, match=r"model\.py"):
        offers(tmp_path, "fit")


@pytest.mark.parametrize(
    "module", ["training.model.contract", "training.command", "training.model.model_file", "training.job"]
)
def test_an_error_is_found_before_tensorflow_is_imported(module):
    code = f"import sys, {module}; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "numpy", "matplotlib"} & set(done.stdout.split())
