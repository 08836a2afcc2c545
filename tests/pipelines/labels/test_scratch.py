"""The folder of one command about labels."""

from pipelines.config.schema import Config, Repositories
from pipelines.labels.scratch import scratch


def test_what_a_killed_process_left_goes_and_what_is_another_models_stays(tmp_path):
    config = Config("a", Repositories("c", "d", "t"), home=str(tmp_path))
    left, others = (tmp_path / "labels" / f".tmp-{name}-commit-abcd_123" for name in ("a", "a-commit"))
    left.mkdir(parents=True)
    others.mkdir()
    with scratch(config, "commit") as folder:
        assert folder.parent == others.parent
        (made,) = set(others.parent.iterdir()) - {others}
        assert made == folder
    with scratch(config, "commit"):
        assert others.exists()
        assert not left.exists()
    folder.mkdir()  # as if it had been killed
    with scratch(config, "commit"):
        assert not folder.exists()
