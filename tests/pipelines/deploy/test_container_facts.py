"""What labels say about an API's container, without an engine."""

from types import SimpleNamespace

import pytest

from pipelines.deploy.container_facts import is_of_this_version
from registry.formats import formats


@pytest.mark.parametrize(
    ("labels", "same"), [({}, False), ({"formats": "other"}, False), ({"formats": formats()}, True)]
)
def test_an_api_of_another_version_is_one_that_does_not_say_that_it_reads_what_is_written_now(labels, same):
    container = SimpleNamespace(labels={f"org.trainyard.{name}": value for name, value in labels.items()})
    assert is_of_this_version(container) is same
