"""docker/compose.yaml on a real engine: the API answers, Prometheus scrapes it, and the guide's queries find something."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from serving_parts import ask, free_port

from pipelines.container_images import catalog
from registry.errors import PipelineError

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = "trainyard-prometheus:test"

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def needed(engine):
    """The images of the API and of Prometheus."""
    try:
        serve = catalog.find(engine, "serve")
    except PipelineError as error:
        if os.environ.get("TRAINYARD_TEST_DOCKER") == "1":
            pytest.fail(f"TRAINYARD_TEST_DOCKER=1, but {error}", pytrace=False)
        pytest.skip(f"{error}: {error.hint}")
    base = catalog.OWN_BASE if catalog.lookup(engine, catalog.OWN_BASE) else "debian:bookworm-slim"
    arguments = ["--build-arg", f"BASE_IMAGE={base}", "-t", PROMETHEUS, str(ROOT / "docker" / "prometheus")]
    done = subprocess.run(["docker", "build", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no image of Prometheus could be made here: {done.stderr.strip()[-300:]}")
    return serve, PROMETHEUS


@pytest.fixture
def running(compose, needed, registry, tmp_path):
    """API and Prometheus, with a registry in which release 1 is live; gives their URLs."""
    registry.release(registry.put("digits"))
    for path in [
        tmp_path,
        *tmp_path.parents[:2],
    ]:  # pytest keeps others out of its folders, and the API is another user
        path.chmod(path.stat().st_mode | 0o055)
    folder = tmp_path / "docker"
    for name in ("docker", "jenkins"):  # compose wants the folders of all services, also of those it does not start
        shutil.copytree(ROOT / name, tmp_path / name)
    settings = folder / "prometheus" / "prometheus.yml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"scrape_(interval|timeout): \d+s", r"scrape_\1: 1s", text), encoding="utf-8")
    api, prometheus = free_port(), free_port()
    environ = os.environ | {
        "TRAINYARD_SERVE_IMAGE": needed[0],
        "TRAINYARD_PROMETHEUS_IMAGE": needed[1],
        "TRAINYARD_MODEL": "m",
        "TRAINYARD_REGISTRY": str(registry.root / "registry"),
        "TRAINYARD_API_PORT": str(api),
        "TRAINYARD_ADMIN_PORT": str(free_port()),
        "TRAINYARD_PROMETHEUS_PORT": str(prometheus),
    }
    command = [*compose, "-p", f"trainyard-test-{os.getpid()}", "-f", str(folder / "compose.yaml")]

    def run(*arguments):
        done = subprocess.run([*command, *arguments], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        run("up", "-d")
        run("exec", "-T", "api", "touch", "/state/by-its-user")  # what it remembers must be writable, whoever it is
        yield f"http://127.0.0.1:{api}", f"http://127.0.0.1:{prometheus}"
    finally:
        run("down", "-v", "-t", "2")


def guide_queries():
    text = (ROOT / "docs" / "how-to" / "monitor.md").read_text(encoding="utf-8")
    table = text.partition("**Queries.**")[2]
    return re.findall(r"^\| [^|`]+ \| `(.+)` \|$", table, flags=re.MULTILINE)


def test_prometheus_sees_what_the_api_counts_and_the_queries_of_the_guide_are_answered(running, until):
    api, prometheus = running

    def get(url, path):
        try:
            return ask(url, "GET", path)
        except OSError:
            return 0, {}, {}

    def query(text):
        status, _, answer = get(prometheus, f"/api/v1/query?query={quote(text)}")
        assert status in {0, 200, 503}, (text, answer)
        return answer["data"]["result"] if status == 200 else []

    until(lambda: get(api, "/health/ready")[0] == 200, 60)
    for _ in range(3):
        assert ask(api, "POST", "/predict", json.dumps({"instances": [[[0] * 8] * 8]}))[0] == 200
    until(lambda: query('trainyard_requests_total{route="/predict",status="200"} == 3'), 60)
    assert [each["value"][1] for each in query("up")] == ["1"]
    queries = guide_queries()
    assert len(queries) >= 6
    for each in queries:
        until(lambda each=each: query(each), 60)
