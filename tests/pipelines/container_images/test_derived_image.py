"""A team's packages on top of the worker image. The package index is a server of this test, at the engine's bridge."""

import functools
import http.server
import ipaddress
import os
import secrets
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.container_images import catalog
from registry.errors import ConfigError

pytestmark = pytest.mark.docker
VERSION = f"1.{os.getpid()}.{time.time_ns()}"  # one that no earlier test has built


def write_wheel(index, name, files):
    """A wheel in a PEP 503 index, which is a folder of folders."""
    folder = index / name.replace("_", "-")
    folder.mkdir(parents=True)
    info = f"{name}-{VERSION}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    file = f"{name}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(folder / file, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def index(engine, worker_image, tmp_path_factory, without_docker):
    """The address of the index and its folder."""
    routes = engine.containers.run(worker_image, ["cat", "/proc/net/route"], remove=True).decode().splitlines()
    ways = [line.split()[2] for line in routes if line.split()[1] == "00000000"]
    gateway = str(ipaddress.ip_address(bytes.fromhex(ways[0])[::-1])) if ways else "192.0.2.1"
    folder = tmp_path_factory.mktemp("index")
    try:
        server = http.server.ThreadingHTTPServer((gateway, 0), functools.partial(Quiet, directory=folder))
    except OSError as error:
        without_docker(f"the engine's bridge is not on this machine: {gateway}: {error}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{gateway}:{server.server_address[1]}", folder, gateway
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def derive(engine, worker_image, index, tmp_path, monkeypatch):
    """Build with this text as requirements.txt; gives the image and the lines that were said."""
    url, _, gateway = index
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_TRUSTED_HOST", gateway)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    made = set()

    def derive(text):
        file = tmp_path / secrets.token_hex(4) / "requirements.txt"
        file.parent.mkdir()
        file.write_text(text)
        lines = []
        image = catalog.derived(engine, worker_image, file, lines.append)
        made.add(image)
        return image, lines

    yield derive
    for image in made - {worker_image}:
        engine.api.remove_image(image, force=True)


def run(engine, image, code):
    """What Python prints, in a container as the runner makes it."""
    done = engine.containers.run(
        image, ["python", "-P", "-c", code], network_mode="none", read_only=True, user="12345:12345", remove=True
    )
    return done.decode()


def test_packages_are_added_once_however_many_ask_at_once(engine, derive, worker_image, index):
    write_wheel(index[1], "trainyard_probe", {"trainyard_probe/__init__.py": "WORD = 'added'\n", "keras/py.txt": ""})
    text = f"trainyard-probe=={VERSION}\nnumpy\ntensorflow\n"
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(derive, [text, "# the same\n" + text]))
    assert any("Successfully installed trainyard" in line for line in both[0][1] + both[1][1])

    image, lines = derive(text)
    assert lines == []
    assert image in {each for each, _ in both}

    code = "import trainyard_probe as t, training; print(t.WORD, t.__cached__, open(t.__cached__, 'rb').read()[4])"
    for each, _ in both:
        word, bytecode, unchecked = run(engine, each, code).split()
        assert (word, unchecked) == ("added", "1")
        assert bytecode.startswith("/opt/trainyard/lib/")
    there, before = (engine.api.inspect_image(each) for each in (image, worker_image))
    assert there["Size"] - before["Size"] < 1e6
    assert there["Config"]["User"] == before["Config"]["User"]
    assert there["Config"]["Env"] == before["Config"]["Env"]
    assert there["Config"]["Labels"]["org.trainyard.image"] == "derived"
    assert index[0] not in str(engine.api.history(image))


@pytest.mark.slow
def test_no_line_of_a_package_runs_in_the_build(engine, derive, index):
    """A .pth file's lines run in every Python that looks for packages."""
    write_wheel(
        index[1],
        "trainyard_pth",
        {"trainyard_pth.pth": "import os; os.system('touch /opt/trainyard/ran')\n", "trainyard_pth.py": "WORD = 1\n"},
    )
    image, _ = derive(f"trainyard-pth=={VERSION}\n")
    code = "import os, sysconfig; p = sysconfig.get_path('purelib'); print(*(os.path.exists(each) for each in ('/opt/trainyard/ran', f'{p}/ran', p)))"
    assert run(engine, image, code).split() == ["False", "False", "True"]


@pytest.mark.slow
def test_what_is_in_the_image_keeps_its_version_and_its_bytes(engine, derive, index):
    with pytest.raises(ConfigError, match=r"numpy==0\.0\.1.*\(constraint\) numpy==\d"):
        derive("numpy==0.0.1\n")
    write_wheel(
        index[1],
        "trainyard_thief",
        {"trainyard_thief-1.data/data/code/registry/errors.py": "", "keras/__init__.py": ""},
    )
    with pytest.raises(ConfigError, match=r"are there already: \S+/code/registry/errors\.py \S+/keras/__init__\.py"):
        derive("trainyard-thief\n")


def test_pips_last_lines_are_shown_and_a_list_that_names_nothing_needs_no_build(derive, worker_image):
    with pytest.raises(ConfigError, match="No matching distribution found for trainyard-no-such-package"):
        derive("trainyard-no-such-package==1\n")
    assert derive("# nothing yet\n") == (worker_image, [])
