"""What a run found in its three repositories, as `fetched.json` in its folder keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.repositories.git_cache import Changes


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is new in each repository since the version that is live (or, without one, the newest candidate)."""

    changes: tuple[Changes, ...]
    files: str = ""
    """A digest of all files that matter, see `pipelines.reuse.up_to_date`."""
