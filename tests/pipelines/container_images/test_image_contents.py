"""What is in Trainyard's images, and what is not, as a worker without name, home, network and privileges finds it."""

import json
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
LOOK = (ROOT / "tests" / "helpers" / "look_inside.py").read_text(encoding="utf-8")
HOMELESS = ["env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME"]

pytestmark = pytest.mark.docker


def run(engine, image, *command):
    """What the command prints, in a container as the runner makes it, but with nothing but /tmp to write to."""
    output = engine.containers.run(
        image,
        [*HOMELESS, *command],
        user="12345:12345",
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "rw,noexec,nosuid,mode=1777"},
        labels={"org.trainyard.test": "images"},
        stderr=True,
        remove=True,
    )
    return output.decode()


@pytest.fixture(scope="module")
def inside(engine, worker_image, serve_image):
    """Kind of image → what look_inside.py has found in it."""
    kinds = {"train": worker_image, "serve": serve_image}
    return {kind: json.loads(run(engine, image, "python", "-P", "-c", LOOK)) for kind, image in kinds.items()}


@pytest.fixture(scope="module")
def described(engine, worker_image, serve_image):
    """Kind of image → what the engine says of it."""
    return {
        "train": engine.api.inspect_image(worker_image),
        "serve": engine.api.inspect_image(serve_image),
    }


both = pytest.mark.parametrize("kind", ["train", "serve"])


@both
def test_it_runs_under_any_user(inside, kind):
    assert inside[kind]["user"] == [12345, 12345]
    assert inside[kind]["home"] == "/tmp"
    assert inside[kind]["prefix"] == "/opt/trainyard"


@both
def test_no_compiler_is_left_in_it(inside, kind):
    assert inside[kind]["compilers"] == []
    assert inside[kind]["headers"] == []


@both
def test_everything_is_compiled_and_no_source_is_looked_at_for_changes(inside, kind):
    assert inside[kind]["files"] > 1000
    assert inside[kind]["no bytecode"] == []
    assert inside[kind]["looked at"] == []


@both
def test_bytecode_is_what_python_runs(engine, worker_image, serve_image, kind):
    image = worker_image if kind == "train" else serve_image
    said = run(engine, image, "python", "-v", "-P", "-c", "import flask, registry.codec, training.worker.protocol")
    assert re.search(r"# code object from '?/opt/trainyard/code/registry/__pycache__/codec\.\S+\.pyc", said)
    assert not re.search(r"# code object from '?/\S+\.py'?$", said, flags=re.MULTILINE)


@both
def test_nothing_in_it_can_be_changed_by_its_user(inside, kind):
    assert inside[kind]["writable"] == []


@both
def test_neither_caches_nor_certificates_of_the_build_are_left(inside, kind):
    assert inside[kind]["leftovers"] == []


@both
def test_its_history_names_no_index_and_no_proxy(engine, described, kind):
    history = json.dumps(engine.api.history(described[kind]["Id"]))
    for word in (
        "PIP_INDEX_URL=",
        "PIP_EXTRA_INDEX_URL=",
        "PIP_TRUSTED_HOST=",
        "http_proxy",
        "HTTPS_PROXY",
        "CERTIFICATE",
    ):
        assert word not in history
    assert not [
        each for each in described[kind]["Config"]["Env"] if re.match(r"(?i)(pip_|https?_proxy|no_proxy)", each)
    ]


@both
def test_its_packages_have_the_pinned_versions(inside, kind):
    lines = (line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] not in " #-")
    pins = {}
    for each in map(Requirement, lines):
        pins.setdefault(canonicalize_name(each.name), set()).add(str(each.specifier))
    installed = {canonicalize_name(name): f"=={version}" for name, version in inside[kind]["packages"].items()}
    assert {name: version for name, version in installed.items() if version not in pins.get(name, ())} == {}


@both
def test_our_own_code_comes_before_any_package(inside, kind):
    path = [each for each in inside[kind]["path"] if each]
    assert path[0] == "/opt/trainyard/code"


@both
def test_it_is_described_and_runs_as_nobody(described, kind):
    config = described[kind]["Config"]
    assert config["User"] == "65532:65532"
    assert next(each for each in config["Env"] if each.startswith("PATH=")).startswith("PATH=/opt/trainyard/bin:")
    assert config["Labels"]["org.trainyard.image"] == kind
    assert config["Labels"]["org.opencontainers.image.version"]
    assert config["Labels"]["org.trainyard.base"].startswith("sha256:")


def test_the_api_has_no_tensorflow_and_its_image_is_small(inside, described):
    assert inside["serve"]["found"] == []
    assert (
        described["serve"]["Size"] < 420e6
    )  # 105 MB of it read Arrow and Parquet, 20 MB speak gRPC, 7 MB read a bucket
    assert described["serve"]["Size"] < described["train"]["Size"] / 4


def test_workers_have_tensorflow_under_both_names_and_nothing_of_the_controller(inside):
    assert inside["train"]["found"] == ["tensorflow", "keras"]
    packages = {canonicalize_name(name): version for name, version in inside["train"]["packages"].items()}
    assert packages["tensorflow"]
    assert not {"docker", "boto3", "yagmail", "python-jenkins"} & packages.keys()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_heavy_packages_need_neither_a_home_nor_a_name(engine, worker_image):
    code = """
import getpass, os, pathlib
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GX_ANALYTICS_ENABLED="false", MPLBACKEND="Agg")
import keras, great_expectations, pandas, pyarrow
import matplotlib.pyplot as plt
figure = plt.figure(); figure.text(0, 0, "text"); figure.savefig("/tmp/a.png")
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse"); model.fit([[1.0, 2.0]] and __import__("numpy").ones((4, 2)), __import__("numpy").ones((4, 1)), verbose=0)
import training.__main__, retraining.__main__, unit_tests.__main__, pipelines.workers.evaluate
print("all", pathlib.Path.home())
"""
    assert run(engine, worker_image, "python", "-P", "-c", code).splitlines()[-1] == "all /tmp"


def test_the_api_is_complete_and_its_health_check_fails_when_nothing_answers(engine, serve_image, described):
    code = "import serving.__main__, serving.app, serving.server.gunicorn_adapter, serving.engines.litert, serving.metrics.page; print('all')"
    assert run(engine, serve_image, "python", "-P", "-c", code).splitlines()[-1] == "all"
    check = described["serve"]["Config"]["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    asked = ["sh", "-c", '"$@"; echo "exit $?"', "sh", *check[1:]]
    assert run(engine, serve_image, *asked).splitlines()[-1] == "exit 1"
