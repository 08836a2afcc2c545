"""What every deployment keeps: one suite, which a test class gives a `project`, settings and `expects`."""

import http.client
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from promotion_parts import MODEL, RIGHT, ask

from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import serve_job
from registry import releases
from registry.errors import TryAgain, WorkerFailed

BODY = json.dumps({"instances": [RIGHT]})


class Crowd:
    """Clients that keep their connections and ask without a pause; `answers` holds status and release of each answer."""

    def __init__(self, url, count=16):
        self.answers, self.failures = [], []
        self._where, self._over = urlsplit(url), threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self):
        """On one connection for as long as answers do not say that it is closed; nothing is asked twice."""
        connection = http.client.HTTPConnection(self._where.hostname, self._where.port, timeout=30)
        try:
            while not self._over.is_set():
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status != 200:
                    self.failures.append((response.status, answer))
                self.answers.append(answer.get("release"))
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(repr(error))
        finally:
            connection.close()

    @contextmanager
    def asking(self):
        """They ask until the end of the block, and have got an answer at its begin."""
        for each in self._threads:
            each.start()
        try:
            self.wait(lambda: len(self.answers) > 50)
            yield self
        finally:
            self._over.set()
            for each in self._threads:
                each.join()

    def wait(self, true):
        """For something that must come true while they ask."""
        for _ in range(3000):
            if true():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it did not happen")

    def more(self, count=100):
        """Wait for so many answers from now."""
        now = len(self.answers)
        self.wait(lambda: len(self.answers) > now + count)


class DeploymentContract:
    """`project` is a team with the candidates 1 and 2, which are good, and 3, which is not. None is live."""

    def test_nothing_runs_at_first(self, project):
        api = open_deployment(project.config)
        assert (api.running(), api.stop(), api.changed(serve_job(project.config))) == (None, False, {})
        with pytest.raises(TryAgain):
            api.version()

    def test_two_starts_at_once_give_one_api_and_a_third_does_nothing(self, project):
        job = serve_job(project.config)
        with ThreadPoolExecutor(2) as pool:
            urls = set(pool.map(lambda _: open_deployment(project.config).start(job, "serve"), range(2)))
        (url,) = urls
        api = open_deployment(project.config)
        before = {each["pid"] for each in api.version()["workers"]}
        assert (api.start(job, "serve"), api.running()) == (url, url)
        assert before <= {each["pid"] for each in api.version()["workers"]}  # some may still have been starting
        assert ask(url)[0] == 503  # nothing is live, and it says so
        assert api.parts()

    def test_releases_rollbacks_and_other_settings_lose_no_request_of_sixteen_clients(self, project, more_workers):
        project.promote(1)
        with Crowd(project.url).asking() as crowd:
            project.promote(2)
            crowd.more()
            project.rollback()
            crowd.more()
            more_workers()
            project.rollback(2)
            crowd.more()
        assert crowd.failures == []
        assert Counter(crowd.answers).keys() == {1, 2, 3, 4}
        assert ask(project.url)[1]["release"] == 4

    def test_a_release_that_cannot_be_loaded_changes_nothing_for_clients(self, project):
        project.promote(1)
        with Crowd(project.url, 4).asking() as crowd:
            with pytest.raises(
                WorkerFailed, match="version 3 of thirds could not be deployed: release 2 is not served"
            ):
                project.promote(3)
            crowd.more()
        assert crowd.failures == []
        assert project.history == [1, 3, 1]
        assert ask(project.url)[1]["version"] == 1

    def test_an_api_that_was_down_follows_what_is_live(self, project):
        project.promote(1)
        project.promote(2)
        assert open_deployment(project.config).stop()
        assert project.url is None
        api, live = open_deployment(project.config), releases.live(project.store, MODEL)
        api.follow(serve_job(project.config), "serve", live.number, 60)
        assert ask(project.url)[1]["release"] == 2

    def test_a_stop_answers_what_has_begun_and_frees_the_port(self, project):
        project.promote(1)
        url, api = project.url, open_deployment(project.config)
        with Crowd(url, 4).asking() as crowd:
            stopped = threading.Thread(target=api.stop)
            stopped.start()
            stopped.join()
        # Once nobody listens, a new connection fails; nothing that was sent before is lost or answered by half.
        assert all("refused" in each or "Remote" in each or "reset" in each for each in map(str, crowd.failures))
        assert api.running() is None
        assert not api.stop()
        with pytest.raises(OSError, match="refused"):
            ask(url)

    def test_settings_that_differ_from_those_of_the_running_api_are_named(self, project):
        job = serve_job(project.config)
        api = open_deployment(project.config)
        api.start(job, "serve")
        assert api.changed(job) == {}
        port = urlsplit(api.running()).port
        wanted = replace(job, port=port + 1, threads=3)
        assert api.changed(wanted) == {"port": f"port {port}, not {port + 1}", "threads": "threads 2, not 3"}
