"""What the tests of kills share."""

from __future__ import annotations

import pytest
from faults_parts import small_team


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """One small team for a module's story; its API is stopped at the end."""
    team = small_team(tmp_path_factory.mktemp("team"))
    yield team
    team.stop_api()
