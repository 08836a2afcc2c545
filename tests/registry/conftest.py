import pytest
from registry_parts import MemoryStore

from registry.stores import open_store


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def store(request, tmp_path):
    """Every rule of the registry holds on every backend; that of S3 with a real server, whose races take seconds."""
    if request.param == "memory":
        return MemoryStore(tmp_path / "local")
    if request.param == "s3":
        return request.getfixturevalue("s3_store")
    return open_store(f"file://{tmp_path / 'registry'}")


@pytest.fixture
def folder_store(tmp_path):
    return open_store(f"file://{tmp_path / 'registry'}")
