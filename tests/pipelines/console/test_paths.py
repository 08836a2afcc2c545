"""Where files are on this machine is nobody's business on a page."""

import pytest

from pipelines.console.paths import without_folders


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("gate: /srv/home me/x/log is full", "gate: …/log is full"),
        ("cannot read /etc/passwd", "cannot read …/passwd"),
        ("file:///srv/secret/registry: gone", "…/registry: gone"),
        ("/srv/team(1)/böse [x]/a.json: gone", "…/a.json: gone"),
        ("'/srv/secret/a', then \"/srv/secret/b\"", "'…/a', then \"…/b\""),
        ("see https://ci.example/job/1/ and /srv/secret/log", "see https://ci.example/job/1/ and …/log"),
        ("home/runs/1, and/or 3 / 4", "home/runs/1, and/or 3 / 4"),
        ("https://a.example/b/c", "https://a.example/b/c"),
    ],
)
def test_of_a_path_only_the_last_part_is_shown(said, shown):
    assert without_folders(said) == shown
