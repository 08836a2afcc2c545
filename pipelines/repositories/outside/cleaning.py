"""What of a dataset's objects no commit names any more: in git's own folder of a clone, or in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.repositories import git
from pipelines.repositories.outside import manifest
from pipelines.repositories.outside.exchange import USERS, Exchange, first_commits, kept_objects
from pipelines.repositories.outside.source import Found, key_of
from pipelines.text.clean import clean
from pipelines.text.sizes import bytes_text
from registry.dataclass import dataclass
from registry.errors import ConfigError

DAY = 86_400.0
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go and what stays."""

    keys: tuple[str, ...]
    """Names of objects in the store; SHA-256 of those in this clone."""
    bytes: int
    kept: int
    kept_bytes: int
    young: int
    """Objects of the store that stay as they are too young."""
    commits: tuple[str, ...]
    """Whose files are kept, as a person names them."""
    manifests: int
    in_store: bool

    @property
    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "removed": len(self.keys), "bytes": self.bytes, "kept": self.kept, "kept_bytes": self.kept_bytes,
            "young": self.young, "commits": list(self.commits), "manifests": self.manifests,
        }  # fmt: skip

    @property
    def in_words(self) -> str:
        """For a person."""
        where = "the store" if self.in_store else "this clone"
        more = f" and {len(self.commits) - SHOWN} more" if len(self.commits) > SHOWN else ""
        named = ", ".join(clean(each, 60) for each in self.commits[:SHOWN]) + more
        young = f", {self.young} of them only as they are young" if self.young else ""
        return (
            f"{where} keeps {self.kept} objects, {bytes_text(self.kept_bytes)}{young}: what the working tree and "
            f"{self.manifests} versions of {manifest.NAME} name, of {named}\n"
            f"{where} has {len(self.keys)} objects, {bytes_text(self.bytes)}, that none of them names"
        )


def plan(exchange: Exchange, commits: Sequence[str], *, in_store: bool, days: float) -> Plan:
    """What can go; raises ConfigError for a commit that is not here, and for a store that is not this repository's alone."""
    tree = exchange.tree
    blobs, named = _manifests(exchange, commits)
    wanted = {file.sha256 for file in tree.manifest.files.values()}
    for blob in blobs:
        where = f"{manifest.NAME} ({blob[:12]})"
        found = manifest.parse(git.run_bytes(["cat-file", "blob", blob], cwd=tree.root), where)
        wanted |= {file.sha256 for file in found.files.values()}
    young, keys, kept = 0, dict[str, int](), dict[str, int]()
    if in_store:
        _refuse_shared(exchange)
        for each, needed in _in_store(exchange, wanted):
            is_young = time.time() - each.written < days * DAY
            young += is_young and not needed
            (kept if needed or is_young else keys)[each.key] = each.size
    else:
        everything = {sha256: size for sha256, (_path, size) in kept_objects(exchange.kept).items()}
        keys = {each: size for each, size in everything.items() if each not in wanted}
        kept = {each: size for each, size in everything.items() if each in wanted}
    return Plan(
        tuple(sorted(keys)), sum(keys.values()), len(kept), sum(kept.values()), young, named, len(blobs), in_store
    )


def _in_store(exchange: Exchange, wanted: set[str]) -> Iterator[tuple[Found, bool]]:
    """What the store has, and whether it is needed: a pack is if something in it is, and its list with it."""
    lists = set()
    for pack, inside in exchange.objects.contents():
        needed = not wanted.isdisjoint(inside)
        lists |= {pack.key.rpartition("/")[2]} if needed else set()
        yield pack, needed
    for each in exchange.objects.listed("sha256"):
        sha256 = each.key.rpartition("/")[2]
        yield each, sha256 in wanted or sha256 in lists or each.key != key_of(sha256)


def remove(exchange: Exchange, planned: Plan) -> None:
    """Remove what the plan says."""
    if planned.in_store:
        exchange.forget_pushed()
        exchange.objects.remove(planned.keys)
        return
    for sha256, (path, _size) in kept_objects(exchange.kept).items():
        if sha256 in set(planned.keys):
            path.unlink(missing_ok=True)


def _manifests(exchange: Exchange, commits: Sequence[str]) -> tuple[set[str], tuple[str, ...]]:
    """The blobs of all manifests that the commits have, and how to name these."""
    root = exchange.tree.root
    if commits:
        found = set()
        for each in commits:
            try:
                commit = git.run(
                    ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{each}^{{commit}}"], cwd=root
                ).strip()
            except git.GitFailed:
                raise ConfigError(
                    f"{clean(each, 100)} is not a commit of this clone", hint="`git fetch`, or correct it"
                ) from None
            listed = git.run(["ls-tree", commit, "--", f":(top){manifest.NAME}"], cwd=root).split()
            found |= {listed[2]} if len(listed) > 2 else set()
        return found, tuple(commits)
    log = ["log", "--all", "--reflog", "--no-renames", "--raw", "--no-abbrev", "--format=", "-m", "--root"]
    rows = [line.split() for line in git.run([*log, "--", f":(top){manifest.NAME}"], cwd=root).splitlines()]
    found = {row[3] for row in rows if len(row) > 4 and set(row[3]) != {"0"}}
    refs = git.run(["for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes"], cwd=root)
    return found, (*refs.split(), "the reflog")


def _refuse_shared(exchange: Exchange) -> None:
    """Raise ConfigError when other repositories have been pushed to this store as well: nothing is known of their commits."""
    ours = set(first_commits(exchange.tree))
    if others := {each.key.rpartition("/")[2] for each in exchange.objects.listed(USERS)} - ours:
        raise ConfigError(
            f"{exchange.place}: {len(others)} other repositories have files there ({', '.join(sorted(others))[:60]}…)",
            hint="give each dataset repository a prefix of its own, and push anew to it; nothing was removed",
        )
