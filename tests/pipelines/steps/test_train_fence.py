"""What a training step says of a worker that the kernel could not fence."""

from pipelines.runs import RunFolder
from pipelines.steps.train import open_to


def test_the_line_of_the_step_says_what_the_worker_was_not_kept_from():
    assert open_to(("signals", "TCP ports")) == "; not fenced: this kernel cannot keep a worker from signals, TCP ports"
    assert open_to(()) == ""


def test_the_run_remembers_it(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.unfenced is None
    folder.keep_unfenced(())
    assert folder.unfenced == ()
    folder.keep_unfenced(("signals", "TCP ports"))
    assert folder.unfenced == ("signals", "TCP ports")
