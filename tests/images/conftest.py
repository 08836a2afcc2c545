"""Our own images, built before the tests: `trainyard images build`."""

import os

import pytest

from pipelines import images
from registry.errors import PipelineError


def own_image(engine, kind):
    try:
        return images.find(engine, kind)
    except PipelineError as error:
        if os.environ.get("TRAINYARD_TEST_DOCKER") == "1":
            pytest.fail(f"TRAINYARD_TEST_DOCKER=1, but {error}", pytrace=False)
        pytest.skip(f"{error}: {error.hint}")


@pytest.fixture(scope="session")
def train_image(engine):
    return own_image(engine, "train")


@pytest.fixture(scope="session")
def serve_image(engine):
    return own_image(engine, "serve")
