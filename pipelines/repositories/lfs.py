"""Fetches the files that Git LFS keeps elsewhere: of a repository on this machine from its folder, else from its LFS server.

git-lfs itself is not run: in a repository of strangers it would ask a server that a file names, with this user's
credentials. See docs/adr/lfs-and-submodules.md.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from pipelines.repositories import addresses, git, processes, transfers
from pipelines.repositories.addresses import Address
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.regular_file import copy_regular
from pipelines.repositories.tree import Extras, Pointer
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError, PipelineError, TryAgain

MEDIA = "application/vnd.git-lfs+json"
AT_ONCE = 100  # objects per request, as git-lfs asks
REDIRECTS = 3
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, OK = 401, 403, 404, 200
LATER = {408, 429, 500, 502, 503, 504}


@dataclass(slots=True)
class Server:
    """An LFS server: its address, the repository's, and the headers for it alone."""

    address: Address
    repository: Address
    headers: dict[str, str] = field(default_factory=dict)
    certificates: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is the repository's own server, which may have the user's credentials for that."""
        return addresses.is_same_host(self.address, self.repository)


class Lfs:
    """Brings the objects of one commit of one repository; `what` names it in errors."""

    def __init__(self, store: ObjectStore, extras: Extras, what: str, url: str) -> None:
        self.store, self.extras, self.what, self.url = store, extras, what, url

    def bring(self, pointers: Mapping[str, Pointer], config: Mapping[str, str], tree: Path, scratch: Path) -> None:
        """Replace each pointer file below `tree` by the file that it names; `config` is what `.lfsconfig` sets.

        Raises ConfigError when that is not there, not allowed or too much, TryAgain when the server is out of reach.
        """
        wanted = {each.oid: each for each in pointers.values()}
        total = sum(each.size for each in wanted.values())
        if total > self.extras.lfs_bytes:
            raise self._error(
                f"its LFS files come to {total >> 20} MB, and {self.extras.lfs_bytes >> 20} MB are allowed",
                "raise [repositories] lfs_mb (they are kept on this disk)",
            )
        missing = self._place(pointers, tree)
        if missing:
            self._fetch({each.oid: each for each in missing.values()}, config, scratch)
            missing = self._place(missing, tree)
        for name, pointer in missing.items():
            raise self._error(
                f"what the LFS server gives for {clean(name, 200)} is not what its pointer names "
                f"({pointer.size} bytes, SHA-256 {pointer.oid[:12]}…)",
                "push the file again: git lfs push --all origin",
            )
        self.store.evict(self.extras.lfs_bytes)

    def _place(self, pointers: Mapping[str, Pointer], tree: Path) -> dict[str, Pointer]:
        """Those that are not in the store."""
        missing = {}
        for name, pointer in pointers.items():
            processes.raise_if_stopping()
            if not self.store.place(pointer, tree / name):
                missing[name] = pointer
        return missing

    def _fetch(self, wanted: Mapping[str, Pointer], config: Mapping[str, str], scratch: Path) -> None:
        server = self._source(config)
        if isinstance(server, Path):
            self._copy(wanted, server, scratch)
            return
        ordered = list(wanted.values())
        for start in range(0, len(ordered), AT_ONCE):
            self._download(server, ordered[start : start + AT_ONCE], scratch)

    def find(self, pointer: Pointer, config: Mapping[str, str]) -> str:
        """The server, or the folder, that says it has the object; raises as `bring` does."""
        server = self._source(config)
        if isinstance(server, Path):
            if not any((folder / _parts(pointer)).is_file() for folder in (server, server / ".git")):
                raise self._not_pushed(pointer)
            return str(server)
        self._actions(server, [pointer])
        return server.address.place

    def _source(self, config: Mapping[str, str]) -> Server | Path:
        """The LFS server, or the folder of a repository on this machine."""
        repository = addresses.parse(self.url)
        if repository is None:
            raise self._error(
                "its address is not one from which LFS files can be fetched", "use https, ssh or a folder"
            )
        named = config.get("lfs.url") or config.get("remote.origin.lfsurl") or ""
        if not named and not repository.scheme:
            return Path(repository.path)
        return self._named_server(named, repository) if named else self._own_server(repository)

    def _copy(self, wanted: Mapping[str, Pointer], repository: Path, scratch: Path) -> None:
        """From where git-lfs puts the objects that are pushed to a folder."""
        for pointer in wanted.values():
            for folder in (repository, repository / ".git"):
                with suppress(FileNotFoundError, NotADirectoryError):
                    copy_regular(folder / _parts(pointer), scratch / pointer.oid)
                    self.store.add(pointer, scratch / pointer.oid)
                    break
            else:
                raise self._not_pushed(pointer)

    def _not_pushed(self, pointer: Pointer) -> ConfigError:
        what = f"{self.url} does not have the LFS object {pointer.oid[:12]}…"
        return self._error(what, "push it: git lfs push --all origin")

    def _named_server(self, url: str, repository: Address) -> Server:
        """The one that `.lfsconfig` names."""
        address = addresses.parse(url)
        if address is None or address.scheme not in {"http", "https"}:
            raise self._error(f".lfsconfig names {git.redact(url)}", "name an address of http or https, or none")
        if not addresses.is_allowed(address, repository, self.extras.trusted):
            raise self._error(
                f".lfsconfig names another server, {address.place}",
                self._trust(address.place, "or remove it from there"),
            )
        return self._ready(Server(replace(address, path=address.path.rstrip("/")), repository))

    def _own_server(self, repository: Address) -> Server:
        if repository.scheme == "ssh":
            return self._ready(self._by_ssh(repository))
        if repository.scheme == "git":
            raise self._error("the git protocol has no LFS", "use the repository's address of https or ssh")
        path = repository.path.rstrip("/").removesuffix(".git")
        return self._ready(Server(replace(repository, path=f"{path}.git/info/lfs"), repository))

    def _by_ssh(self, repository: Address) -> Server:
        """The one that the git server names for whoever logs in by ssh, with a header that lets him in."""
        chosen = os.environ.get("GIT_SSH_COMMAND") or git.setting("core.sshCommand") or git.SSH
        user = f"{repository.user}@" if repository.user else ""
        path = repository.path.lstrip("/") if "://" not in self.url else repository.path
        asked = [
            "-p",
            str(repository.port),
            "--",
            user + repository.host,
            f"git-lfs-authenticate {shlex.quote(path)} download",
        ]
        code, out, err = processes.run_program(
            [*processes.dies_with_us(), "sh", "-c", f'{chosen} "$@"', "ssh", *asked],
            env=git.clean_environment(),
            timeout=60.0,
        )
        try:
            said = json.loads(out) if not code else {}
            address = addresses.parse(str(said["href"])) if said else None
        except (ValueError, KeyError, TypeError):
            address = None
        if code or address is None or address.scheme not in {"http", "https"}:
            why = clean(err.decode("utf-8", "replace"), 300) or "its answer cannot be read"
            message = f"{repository.place} does not say where its LFS server is: {why}"
            if git.TRANSIENT.search(why):
                raise TryAgain(f"[repositories] {self.what}: {message}", hint="retry later")
            raise self._error(message, "use the repository's address of https, or name the server in .lfsconfig")
        self._check(address, repository)
        return Server(replace(address, path=address.path.rstrip("/")), repository, _headers(said.get("header")))

    def _ready(self, server: Server) -> Server:
        """With what git is set to send to, and trust from, the repository's own server."""
        if server.is_ours:
            extra = git.setting("http.extraHeader", str(server.address))
            name, colon, value = extra.partition(":")
            if colon and not server.headers:
                server.headers[name.strip()] = value.strip()
        file = os.environ.get("GIT_SSL_CAINFO") or git.setting("http.sslCAInfo", str(server.address))
        if file:
            with suppress(OSError, UnicodeDecodeError):
                server.certificates = Path(file).expanduser().read_text(encoding="ascii", errors="ignore")
        return server

    def _download(self, server: Server, pointers: Sequence[Pointer], scratch: Path) -> None:
        """At most a hundred objects: ask where they are, then fetch them from there."""
        requests = {}
        for pointer, action in self._actions(server, pointers):
            address = addresses.parse_href(str(action.get("href")))
            if address is None:
                raise self._error(f"{server.address.place} gives no usable address for an LFS file", "ask its operator")
            headers = _headers(action.get("header"))
            if address[0].place == server.address.place and address[0].scheme == server.address.scheme:
                headers = {**server.headers, **headers}
            requests[pointer] = self._request(server, *address, headers) | {
                "into": str(scratch / pointer.oid), "size": pointer.size,
            }  # fmt: skip
        for _ in range(REDIRECTS + 1):
            answers = dict(zip(requests, self._ask(server, list(requests.values()), scratch), strict=True))
            redirected = {}
            for pointer, answer in answers.items():
                if answer.get("status") in {301, 302, 303, 307, 308} and (
                    address := addresses.parse_href(str(answer.get("location")))
                ):
                    redirected[pointer] = requests[pointer] | self._request(server, *address, {})
                elif answer.get("status") != OK:
                    raise self._failed(answer, _place_of(requests[pointer]))
                else:
                    self.store.add(pointer, scratch / pointer.oid)
            if not (requests := redirected):
                return
        raise self._error(f"{server.address.place} redirects more than {REDIRECTS} times", "ask its operator")

    def _actions(self, server: Server, pointers: Sequence[Pointer]) -> list[tuple[Pointer, Mapping[str, Any]]]:
        """Where the server says that each object is."""
        objects = [{"oid": each.oid, "size": each.size} for each in pointers]
        body = json.dumps({"operation": "download", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256"})
        url = replace(server.address, path=f"{server.address.path}/objects/batch")
        media = {"Accept": MEDIA, "Content-Type": MEDIA}
        for has_asked in (False, True):
            request = self._request(server, url, str(url), {**media, **server.headers}) | {"body": body}
            (answer,) = self._ask(server, [request], None)
            if answer.get("status") != UNAUTHORIZED or has_asked or not server.is_ours:
                break
            if not (login := self._credentials(server)):
                break
            server.headers["Authorization"] = login
        if answer.get("status") != OK:
            raise self._failed(answer, str(url))
        try:
            rows = {each["oid"]: each for each in json.loads(answer["body"])["objects"]}
            return [(each, _action(rows[each.oid])) for each in pointers]
        except NotThereError as error:
            raise self._error(
                f"{server.address.place} does not have an LFS file: {clean(str(error), 200)}",
                "push it: git lfs push --all origin",
            ) from None
        except (ValueError, KeyError, TypeError):
            raise self._error(
                f"{url} does not answer as an LFS server does",
                "is the repository's address right, and LFS enabled there?",
            ) from None

    def _credentials(self, server: Server) -> str:
        """What this user's credential helper knows about the repository's server: it is asked for no other one."""
        address = server.address
        given = f"protocol={address.scheme}\nhost={address.place}\npath={address.path.lstrip('/')}\n\n"
        try:
            out = git.run_bytes(["credential", "fill"], given=given.encode(), timeout=60.0).decode("utf-8", "replace")
        except PipelineError:
            return ""
        found = dict(line.partition("=")[::2] for line in out.splitlines())
        if not found.get("password"):
            return ""
        pair = f"{found.get('username', '')}:{found['password']}"
        return "Basic " + base64.b64encode(pair.encode()).decode("ascii")

    def _check(self, address: Address, server: Address) -> None:
        """Raise ConfigError for an address, named by a server that is trusted, that would be unencrypted after all."""
        if server.scheme in addresses.CONFIDENTIAL and address.scheme != "https":
            raise self._error(
                f"{server.place} has an LFS file fetched without encryption, from {address}", "ask its operator"
            )

    def _request(self, server: Server, address: Address, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """A request whose addresses are checked: of the repository's host or a trusted one any, else public ones only."""
        self._check(address, server.repository if server.repository.scheme else server.address)
        known = address.host in {server.repository.host, ""} or address.place in self.extras.trusted
        what = f"[repositories] {self.what}: an LFS file is to come from"
        return {"url": url, "ips": addresses.ips(address, what, public=not known), "headers": dict(headers)}

    def _ask(self, server: Server, requests: Sequence[Mapping[str, Any]], scratch: Path | None) -> list[dict[str, Any]]:
        """The answers of the servers, from a process that can reach their ports and `scratch` only."""
        what = f"[repositories] {self.what}: fetching LFS files"
        return transfers.ask(requests, what, certificates=server.certificates, write=str(scratch) if scratch else "")

    def _failed(self, answer: Mapping[str, Any], url: str) -> PipelineError:
        status, why = answer.get("status"), answer.get("error") or f"status {answer.get('status')}"
        message = f"[repositories] {self.what}: LFS files cannot be fetched from {url}: {clean(str(why), 300)}"
        if status in LATER or ("error" in answer and not answer.get("lasting")):
            return TryAgain(message, hint="the network or the LFS server is down: retry later")
        hints = {
            UNAUTHORIZED: "set up a git credential helper or a deploy key for this user",
            FORBIDDEN: "give this user read access to the repository's LFS files",
            NOT_FOUND: "is the repository's address right, and LFS enabled there?",
        }
        return ConfigError(message, hint=hints.get(status or 0, "ask the operator of that server"))

    def _trust(self, place: str, otherwise: str) -> str:
        return f'if it may be asked: add "{place}" to [repositories] trusted; {otherwise}'

    def _error(self, message: str, hint: str) -> ConfigError:
        return ConfigError(f"[repositories] {self.what}: {message}", hint=hint)


class NotThereError(Exception):
    """What the server says about an object that it does not have."""


def _action(row: Mapping[str, Any]) -> Mapping[str, Any]:
    if "error" in row:
        raise NotThereError(f"{row['error'].get('message', 'error')} ({row['error'].get('code', '?')})")
    action = row["actions"]["download"]
    if not isinstance(action, dict):
        raise TypeError
    return action


def _parts(pointer: Pointer) -> Path:
    """Where git-lfs has an object, in a repository."""
    return Path("lfs", "objects", pointer.oid[:2], pointer.oid[2:4], pointer.oid)


def _place_of(request: Mapping[str, Any]) -> str:
    found = addresses.parse_href(str(request["url"]))
    return found[0].place if found else "?"


def _headers(given: Any) -> dict[str, str]:
    """The headers that a server wants to be sent, without what would end one."""
    pairs = given.items() if isinstance(given, dict) else ()
    return {str(name): str(value) for name, value in pairs if f"{name}{value}".isprintable()}
