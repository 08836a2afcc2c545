"""An engine on another machine that goes silent while a worker runs: nobody waits for it for ever."""

import socket
import threading

import pytest

from docker import APIClient
from pipelines.runners import Job, Limits
from pipelines.runners.docker.attach import AttachedLink
from pipelines.runners.docker.transport import BindMounts, Site
from pipelines.runners.job_folder import prepare
from pipelines.runners.supervisor.output import opened
from pipelines.runners.supervisor.supervised import SupervisedWorker, run_through
from registry.errors import TryAgain

ANSWERS = {
    b"attach": b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    b"start": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.fixture
def port():
    """Of an engine that starts a container, and then gives no answer any more."""
    talks = []

    def talk(server):
        while True:
            try:
                talks.append(server.accept()[0])
            except OSError:
                return
            threading.Thread(target=answer, args=(talks[-1],), daemon=True).start()

    def answer(talk):
        while asked := talk.recv(10_000):
            what = asked.split(b" ")[1].partition(b"?")[0].rpartition(b"/")[2]
            talk.sendall(ANSWERS.get(what, b""))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=talk, args=(server,))
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for each in talks:
        each.close()


@pytest.fixture
def worker(port, tmp_path):
    api = APIClient(f"tcp://127.0.0.1:{port}", version="1.41", timeout=0.5)
    job = Job("probe", ("probe_job", "result"), tmp_path / "job", Limits(0.5, 0))
    prepare(job, job.folder)
    with opened(job, job.folder, lambda _line: None) as output:
        files = BindMounts(Site(api, "image", (0, 0), {}), job, job.folder)
        worker = SupervisedWorker(job, output, AttachedLink(api, "c1", "probe", files, output.log), 0.1)
    yield worker
    api.close()


def test_a_worker_is_given_up_when_its_time_is_over(worker):
    worker.patience = 0.5
    with pytest.raises(TryAgain, match="the Docker engine went away while it ran"):
        run_through(worker)


def test_a_server_is_left_alone_at_the_end_of_its_block(worker):
    worker.patience = 3.0
    with worker:
        worker.job = Job("probe", (), worker.folder, Limits(0, 0))
        worker.follow_in_background()
    worker.wait(0)
    assert not any(thread.name == "output of probe" for thread in threading.enumerate())


def test_a_connection_without_a_word_is_tested_by_the_kernel(worker):
    link = worker.link._socket
    assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    with worker:
        link.shutdown(socket.SHUT_RDWR)
