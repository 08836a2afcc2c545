import pytest
from registry_parts import MemoryStore

from registry.stores import open_store


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    """Every rule of the registry holds on every backend."""
    if request.param == "folder":
        yield open_store(f"file://{tmp_path / 'registry'}")
    else:
        memory = MemoryStore()
        yield memory
        memory.close()


@pytest.fixture
def folder_store(tmp_path):
    return open_store(f"file://{tmp_path / 'registry'}")
