"""The lists of names for the images, the pins, and what our code imports match."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.container_images.build_context import CODE

ROOT = Path(__file__).resolve().parents[3]
OURS = {"registry", "training", "retraining", "unit_tests", "serving", "pipelines"}
ANALYSIS = {"_typeshed"}  # for type checkers only
BUCKETS = {"botocore"}  # of a registry in a bucket: no worker reads one
TRACES = {"opentelemetry-api"}  # optional: whoever sets [serving] traces adds it to the image
LEFT_OUT = {
    "serve": {"tensorflow", "tensorflow-cpu", "keras"}
    | TRACES,  # a model that needs them is served from the worker image
    "train": BUCKETS | TRACES,
}


def names(path):
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line]


def listed(kind):
    return {canonicalize_name(each.name) for each in names(ROOT / "docker" / kind / "requirements.in")}


def imported(path):
    """Top-level names that the Python files below `path` import, anywhere in them."""
    for file in [path] if path.is_file() else path.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def distributions(paths):
    """What must be installed for the imports below these paths: for each one set, of which one is enough."""
    known = packages_distributions()
    foreign = {name for path in paths for name in imported(ROOT / path)} - OURS - ANALYSIS - sys.stdlib_module_names
    return [{canonicalize_name(each) for each in known[name]} for name in foreign]


@pytest.mark.parametrize("kind", ["train", "serve"])
def test_every_name_of_an_image_is_pinned_and_has_no_version_of_its_own(kind):
    pinned = {canonicalize_name(each.name) for each in names(ROOT / "requirements.txt")}
    assert listed(kind) <= pinned
    assert not [each for each in names(ROOT / "docker" / kind / "requirements.in") if each.specifier or each.url]


def test_the_worker_image_has_all_that_its_code_imports():
    assert not [any_of for any_of in distributions(CODE["train"]) if not any_of & (listed("train") | LEFT_OUT["train"])]


def test_the_image_of_the_api_has_all_that_serving_imports_but_tensorflow():
    wanted = distributions(["serving", "registry"])
    assert not [any_of for any_of in wanted if not any_of & (listed("serve") | LEFT_OUT["serve"])]
    assert not listed("serve") & LEFT_OUT["serve"]


def test_what_only_the_controller_needs_is_in_no_image():
    for kind in ("train", "serve"):
        assert not listed(kind) & {"docker", "python-jenkins", "yagmail", "boto3", "palmerpenguins"}
