"""Versions as the registry would hold them, the real API on one of them, and the job folder of an acceptance test."""

import pytest
from unit_tests_support import AcceptanceTest, await_ready, make_version, serve


@pytest.fixture(scope="session")
def versions(tiny_models, tmp_path_factory):
    """Model name → folder with `version` and `holdout`."""
    root, made = tmp_path_factory.mktemp("versions"), {}

    def get(name):
        if name not in made:
            (root / name).mkdir()
            made[name] = make_version(tiny_models / name, root / name, name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def thirds(versions, tmp_path_factory):
    """The URL of the API on the image model."""
    with serve(tmp_path_factory.mktemp("serve") / "thirds", versions("thirds") / "version") as url:
        await_ready(url)
        yield url


@pytest.fixture
def acceptance(tmp_path):
    return AcceptanceTest(tmp_path / "acceptance")
