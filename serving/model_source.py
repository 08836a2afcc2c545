"""Where the model comes from: the registry's newest release, or the folder of one candidate in an acceptance test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from registry import candidates, codec, heads, releases
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_file
from registry.records import Candidate
from registry.signed_store import SignedStore
from registry.stores import Store, open_store, signatures_of
from registry.trusted import UNSIGNED, FirstUse, Memory, Trusted
from registry.undo import good_before
from serving.batching.measure import Bounds
from serving.batching.rules import SIZES
from serving.engines.base import cores
from serving.job import ServeJob
from serving.known_good import Live
from serving.model import Model, load
from serving.reach import UNFOLLOWED, OutOfReach, folder_of, is_followed, is_out_of_reach
from serving.version_files import check_folder

Loader = Callable[[Path, int | None], Model]
"""Loads and warms the version in a folder, for a release; None: of none."""


class Source(Protocol):
    """What serving.model_swap follows."""

    def newest(self) -> int:
        """The number of the newest release by its file name alone, which is cheap; 0: there is none.

        Raises OutOfReach when only a new start of the API can read it again.
        """

    def find(self, number: int) -> Live | None:
        """What is live, by at least release `number`; None when nothing is. Raises what is wrong with the registry."""

    def load(self, live: Live) -> Model:
        """Load what `find` has found. Raises whatever is wrong with it."""

    def released(self) -> dict[int, Live]:
        """By version, the newest release that made it live."""

    def before(self, number: int) -> Live | None:
        """What was live and good before release `number`, for when that one fails."""

    def verified(self) -> str:
        """By what the registry's records are verified, in words; empty when there is no registry."""


class Releases:
    """Follows the releases of one model in a registry."""

    def __init__(
        self,
        store: Store,
        model: str,
        loader: Loader,
        folder: Path | None = None,
        mirror: Path | None = None,
    ) -> None:
        """`folder`: where the store is, if it was in reach when the API started. `mirror`: where its lock is, if the store is
        the local copy of a registry."""
        self._store, self._model, self._loader = store, model, loader
        self._folder, self._mirror = folder, mirror
        signatures = signatures_of(store)
        self._trusted = signatures if isinstance(signatures, Trusted) else None
        self._chain = releases.release_chain(store, model)
        self._seen = 0

    def newest(self) -> int:
        """Checks for the release after the last one that it has seen; lists them all when that one is missing."""
        if self._folder and is_out_of_reach(self._folder):
            raise OutOfReach
        if self._mirror and not is_followed(self._mirror):
            raise OutOfReach(UNFOLLOWED)
        if not self._seen or not self._exists(self._seen):
            self._seen = self._chain.last()
        while self._exists(self._seen + 1):
            self._seen += 1
        return self._seen

    def _exists(self, number: int) -> bool:
        try:
            self._store.path(self._chain.name(number))
        except FileNotFoundError:
            return False
        return True

    def find(self, number: int) -> Live | None:
        heads.must_be_whole(self._store, self._model)
        release = releases.latest(self._store, self._model)
        if (release.number if release else 0) < number:
            raise Corrupt(f"production/{self._model}/releases: release {number} cannot be read")
        if release is None or release.version is None:
            return None
        return Live(release.number, release.version, release.card)

    def load(self, live: Live) -> Model:
        assert live.release
        release = self._chain.read(live.release)
        if release.version is None or (release.version, release.card) != (live.version, live.card):
            raise Corrupt(f"{self._chain.name(live.release)}: it does not make version {live.version} live")
        if self._trusted and self._trusted.begun:
            releases.must_be_approved(self._store, release)
        folder = candidates.local_folder(self._store, "production", self._model, release.version, release.card)
        return self._loader(folder, release.number)

    def released(self) -> dict[int, Live]:
        history = releases.releases(self._store, self._model)
        return {
            each.version: Live(each.number, each.version, each.card) for each in history if each.version is not None
        }

    def before(self, number: int) -> Live | None:
        history = [each for each in releases.releases(self._store, self._model) if each.number <= number]
        release = good_before(history) if history else None
        return Live(release.number, release.version, release.card) if release and release.version is not None else None

    def verified(self) -> str:
        return self._trusted.basis if self._trusted else UNSIGNED


class Folder:
    """One version, for an acceptance test; it never changes."""

    def __init__(self, folder: Path, loader: Loader) -> None:
        self._folder, self._loader = folder, loader

    def newest(self) -> int:
        return 1

    def find(self, number: int) -> Live:
        del number
        path = self._folder / "card.json"
        if not path.is_file():
            raise ConfigError(f"{path}: is missing", hint="set folder in job.json to the folder of a version")
        manifest = codec.from_json(Candidate, path.read_bytes(), str(path), checksum_required=True)
        return Live(None, manifest.version, sha256_file(path))

    def load(self, live: Live) -> Model:
        del live
        check_folder(self._folder)
        return self._loader(self._folder, None)

    def released(self) -> dict[int, Live]:
        return {}

    def before(self, number: int) -> None:
        del number

    def verified(self) -> str:
        return ""


def open_source(job: ServeJob, copies: Path, *, in_reach: bool = False) -> Source:
    """The source that the job names; raises ConfigError. `in_reach`: whether the registry was when the API started."""
    bounds = bounds_of(job)

    def loader(folder: Path, release: int | None) -> Model:
        return load(folder, release, job.threads, copies, bounds=bounds)

    if job.folder:
        return Folder(Path(job.folder), loader)
    if not job.registry:
        raise ConfigError("job.json: it names neither registry nor folder", hint="set one of them")
    store, memory = open_store(job.followed), Memory(job.state_folder(copies.parent) / "registry.json")
    trusted = Trusted(store, memory, (job.first_key,)) if job.first_key else FirstUse(store, memory)
    folder = folder_of(job.followed) if in_reach else None
    mirror = Path(job.mirror) if job.mirror else None
    return Releases(SignedStore(store, trusted), job.model, loader, folder, mirror)


def bounds_of(job: ServeJob) -> Bounds:
    """Of batches of requests. Each server process runs as many at the same time as it has cores for itself."""
    at_once = max(1, min(cores() // job.workers, job.threads))
    return Bounds(job.batch_ms / 1000, min(job.max_instances, SIZES[-1]), at_once)
