import pytest
from registry_parts import MemoryStore

from registry.stores import open_store


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    """Every rule of the registry holds on every backend."""
    return (
        open_store(f"file://{tmp_path / 'registry'}") if request.param == "folder" else MemoryStore(tmp_path / "local")
    )


@pytest.fixture
def folder_store(tmp_path):
    return open_store(f"file://{tmp_path / 'registry'}")
