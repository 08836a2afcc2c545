"""How much memory can still be had."""

import pytest

from serving.free_memory import free_mb


@pytest.fixture
def machine(tmp_path):
    def made(limit="max", used=0, cached=0):
        (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable:    4194304 kB\n", encoding="ascii")
        (tmp_path / "memory.max").write_text(f"{limit}\n", encoding="ascii")
        (tmp_path / "memory.current").write_text(f"{used << 20}\n", encoding="ascii")
        (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {cached << 20}\n", encoding="ascii")
        return free_mb(tmp_path / "meminfo", tmp_path)

    return made


def test_the_tighter_of_machine_and_container_counts(machine):
    assert machine() == 4096
    assert machine(limit=1 << 30, used=1000, cached=100) == 124
    assert machine(limit=64 << 30) == 4096
    assert machine(limit=1 << 20, used=5) == 1, "0 would mean that it is not known"


def test_nothing_to_read_is_unknown(tmp_path):
    assert free_mb(tmp_path / "none", tmp_path / "none") == 0
    assert free_mb() > 0
