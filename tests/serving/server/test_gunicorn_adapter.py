"""What serving relies on inside gunicorn is there in the version that is installed, and named in one file."""

import inspect
import re
from pathlib import Path
from socket import socket
from types import SimpleNamespace

import gunicorn
import pytest
from gunicorn import sock
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import errors, message
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.http.wsgi import Response
from gunicorn.workers.gthread import ThreadWorker

from serving.job import ServeJob
from serving.server import gunicorn_adapter, gunicorn_settings, gunicorn_worker

ROOT = Path(__file__).parents[3]
RELIED_ON = re.findall(r"^\| `(\w+)\.(\w+)(?:\((.*)\))?` \|", gunicorn_adapter.__doc__, re.MULTILINE)


class App(BaseApplication):
    def load_config(self):
        pass


@pytest.fixture(scope="module")
def objects():
    """One of each of gunicorn's classes in the table, attributes that its constructor sets included."""
    config = Config()
    log = Logger(config)
    worker = ThreadWorker(1, 1, [], None, 30, config, log)
    with socket() as connection:
        yield {
            "ThreadWorker": worker,
            "Request": next(RequestParser(config, iter([b"GET / HTTP/1.1\r\n\r\n"]), ("", 0))),
            "RequestParser": RequestParser(config, iter([]), ("", 0)),
            "Unreader": Unreader(),
            "Body": Body(LengthReader(Unreader(), 3)),
            "LengthReader": LengthReader(Unreader(), 3),
            "errors": errors,
            "sock": sock,
            "Response": Response(None, connection, config),
            "BaseApplication": App(),
            "Config": config,
            "Logger": log,
        }
    worker.tmp.close()


@pytest.mark.parametrize(("of", "name", "_parameters"), RELIED_ON)
def test_everything_in_the_table_exists(objects, of, name, _parameters):
    assert hasattr(objects[of], name), (
        f"gunicorn {gunicorn.__version__} has no {of}.{name}, which serving/server/gunicorn_adapter.py relies on:"
        " adapt that file, or pin a version with which it was tried"
    )


@pytest.mark.parametrize(("of", "name", "parameters"), [row for row in RELIED_ON if row[2]])
def test_methods_in_the_table_take_what_it_says(objects, of, name, parameters):
    found = [each for each in inspect.signature(getattr(objects[of], name)).parameters if each != "self"]
    assert ", ".join(found) == parameters, (
        f"{of}.{name} takes ({', '.join(found)}) in gunicorn {gunicorn.__version__}, but"
        f" serving/server/gunicorn_adapter.py relies on ({parameters}): adapt that file, or pin a version with which it was tried"
    )


def test_the_table_names_all_that_the_worker_overrides():
    names = {name for of, name, _ in RELIED_ON if of == "ThreadWorker"}
    overridden = {name for name in vars(gunicorn_worker.Worker) if hasattr(ThreadWorker, name) and name[:2] != "__"}
    assert overridden <= names


def test_the_pinned_version_was_tried():
    pinned = re.search(r"^gunicorn==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert re.search(rf"Tried with gunicorn .*\b{re.escape(pinned)}\b", gunicorn_adapter.__doc__), (
        f"gunicorn {pinned} is pinned: run tests/serving, then name it in serving/server/gunicorn_adapter.py"
    )


def test_requests_are_read_by_the_parser_that_was_tried_also_where_another_is_installed(monkeypatch):
    monkeypatch.setattr(message, "_fast_parser_available", True)
    monkeypatch.setattr(message, "_fast_parser_module", SimpleNamespace(LimitRequestLine=ValueError))
    config = Config()
    assert message._check_fast_parser(config)  # gunicorn by itself would take it
    for name, value in gunicorn_settings.settings(ServeJob("m"), "127.0.0.1:0").items():
        config.set(name, value)
    assert not message._check_fast_parser(config)


def test_no_other_module_of_serving_touches_gunicorn():
    importing = re.compile(
        r"^\s*(?:from|import) gunicorn|getLogger\(.gunicorn|\.(?:poller|_accepting|nr_conns)\b", re.MULTILINE
    )
    files = {path for path in (ROOT / "serving").rglob("*.py") if importing.search(path.read_text(encoding="utf-8"))}
    assert {path.relative_to(ROOT / "serving" / "server").name for path in files} == {
        "gunicorn_adapter.py",
        "gunicorn_errors.py",
        "gunicorn_worker.py",
    }
