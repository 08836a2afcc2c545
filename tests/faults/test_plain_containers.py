"""Where the kernel gives no mount namespace, a fenced worker has no /dev/shm: what Trainyard does itself works all the same."""

import pytest
from data_makers import images, png
from plain_container import in_plain_container

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.process.runner import ProcessRunner
from registry import codec
from training.data.spec import PrepareJob, Validation
from training.fence import confine
from training.fence.rules import lacks

pytestmark = pytest.mark.skipif(confine.abi() < confine.SCOPE_ABI, reason="needs Landlock of Linux 6.12")


@pytest.fixture
def new_probe():
    """What the kernel offers is asked again, here and for the next test."""
    lacks.cache_clear()
    yield
    lacks.cache_clear()


@pytest.mark.usefixtures("new_probe")
def test_the_kernel_lacks_modes_of_files_there():
    assert in_plain_container(lacks) == ("modes of files",)


@pytest.mark.slow
def test_a_worker_reads_a_dataset_with_several_processes(tmp_path):
    dataset = images(tmp_path / "dataset", per_class=1600)
    (dataset / "dataset.toml").write_text('format = "images"\n')
    (dataset / "dog" / "1599.png").write_bytes(png(9999)[:-20])
    command = ("training.data.prepare",)
    job = Job("validate", command, tmp_path / "job", Limits(120, 0), {"dataset": dataset})
    lines = []
    (tmp_path / "job").mkdir()
    codec.save(PrepareJob(processes=2), tmp_path / "job" / "job.json")
    in_plain_container(ProcessRunner(RunnerConfig(), tmp_path).run, job, lines.append)
    found = codec.read(Validation, tmp_path / "job" / "result.json")
    assert [each.messages[0] for each in found.faults] == ["dog/1599.png is truncated: 8 bytes are missing"]
