"""What every step is given beside its run: the settings and the parts that they name."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config.schema import Config
from pipelines.progress.view import Progress
from pipelines.runners import Job, Limits, Runner, open_runner
from pipelines.trust import open_registry
from registry.stores import Store
from training.worker.protocol import parse_event

if TYPE_CHECKING:
    from pipelines.repositories.git_cache import GitCache

# What TensorFlow and LiteRT log at every start; `worker.log` has it.
NOISE = re.compile(r"XNNPACK delegate|absl::InitializeLog|oneDNN custom operations|rebuild TensorFlow with")


def clones(config: Config) -> GitCache:
    """The clones of the three repositories, with what is fetched beside them."""
    from pipelines.repositories.git_cache import GitCache
    from pipelines.repositories.tree import Extras

    chosen = config.repositories
    extras = Extras(
        lfs=chosen.lfs,
        submodules=chosen.submodules,
        lfs_bytes=chosen.lfs_mb << 20,
        trusted=chosen.trusted,
        unimportant=chosen.unimportant,
        data_store=chosen.data_store,
        data_bytes=chosen.data_mb << 20,
        folders={name: folder for name in ("code", "dataset", "tests") if (folder := chosen.folder_of(name))},
    )
    return GitCache(Path(config.home) / "git", extras)


class Context:
    """The settings, the registry, the runner and the progress view of one command."""

    def __init__(self, config: Config, progress: Progress) -> None:
        self.config = config
        self.progress = progress
        self._quiet = False

    @property
    def home(self) -> Path:
        """Where runs, caches, the outbox and logs live."""
        return Path(self.config.home)

    @functools.cached_property
    def store(self) -> Store:
        """The registry."""
        return open_registry(self.config)

    @functools.cached_property
    def runner(self) -> Runner:
        """Where workers run."""
        return open_runner(self.config.runner, self.home / "cache", self.config.serving.image)

    def in_image(self, image: str) -> Context:
        """The same, with workers in this container image."""
        runner = replace(self.config.runner, image=image)
        return type(self)(replace(self.config, runner=runner), self.progress)

    @functools.cached_property
    def git(self) -> GitCache:
        """Clones of the three repositories."""
        return clones(self.config)

    def url(self, repository: str) -> str:
        """Where `code`, `dataset` or `tests` is."""
        return str(getattr(self.config.repositories, repository))

    def limits(self, seconds: float = 0.0) -> Limits:
        """What a worker may use; `seconds` in place of the configured time."""
        runner = self.config.runner
        return Limits(seconds or runner.timeout_minutes * 60, runner.memory_mb, runner.disk_mb)

    def work(self, job: Job) -> None:
        """Run one worker to its end; its `job.json` is in its folder, its `result.json` afterwards."""
        self._quiet = False
        self.runner.run(job, self.show)

    def show(self, line: str) -> None:
        """Show a worker's line."""
        event = parse_event(line)
        if event and event["event"] == "quiet":
            self._quiet = bool(event.get("on"))
        elif event or not (self._quiet or NOISE.search(line)):
            self.progress.line(line)
