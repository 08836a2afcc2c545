"""What the console's tests share."""

import pytest
from console_browser import chromium


@pytest.fixture(scope="session")
def browser():
    """A real browser; see `console_browser`."""
    with chromium() as found:
        yield found
