"""`trainyard jenkins apply`: the folder and the jobs of a model become what the settings say, and nothing else changes.

First every definition, then the builds that register triggers: what was interrupted goes on where it stopped, because
a job's description tells that such a build is still to come.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from pipelines.config.schema import Config
from pipelines.jenkins_server import job_xml, plugins
from pipelines.jenkins_server.answers import Forbidden, NotThere, Refused
from pipelines.jenkins_server.client import JenkinsClient, job_path
from pipelines.jenkins_server.job_xml import Difference
from pipelines.jenkins_server.plan import Job, check_settings, folder_of, jobs_of
from registry.errors import ConfigError

Action = Literal["created", "changed", "unchanged", "used"]
PREPARE = {"ONLY_PREPARE": "true", "REASON": "trainyard jenkins apply", "delay": "0sec"}


@dataclass(frozen=True, slots=True)
class Item:
    """What was done, or with --dry-run would be, about one folder or job; `used`: a folder that is not ours."""

    kind: Literal["folder", "job"]
    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    build: bool = False
    """Whether a build is started that registers its triggers."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """All that was done, and what a person should know."""

    url: str
    version: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder on the way to the jobs."""

    name: str
    exists: bool
    ours: bool


@dataclass(frozen=True, slots=True)
class _Wish:
    """A job, what stands on Jenkins in its place, and what it is to become."""

    job: Job
    folder: str
    path: str
    tree: ET.Element
    exists: bool
    differences: tuple[Difference, ...]

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.job.name}"

    @property
    def action(self) -> Action:
        if not self.exists:
            return "created"
        return "changed" if self.differences else "unchanged"


def apply(
    config: Config,
    client: JenkinsClient,
    *,
    dry_run: bool = False,
    build: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Applied:
    """Make it so; `say` tells each thing when it is done. Raises ConfigError before anything is changed if it can."""
    check_settings(config)
    version = client.version()
    notes = _check_plugins(client)
    places = _places(client, config)
    there = all(place.exists for place in places)
    wishes = [_wish(client, folder_of(config), job, there=there) for job in jobs_of(config)]
    items = [_settle_folder(client, place, config.model, dry_run=dry_run, say=say) for place in places]
    jobs = [(wish if dry_run else _settle(client, wish, say), wish) for wish in wishes]
    for settled, wish in jobs:
        builds = build and settled.job.has_triggers and job_xml.is_pending(settled.tree)
        item = Item("job", wish.name, wish.action, wish.differences, builds)
        items.append(item if dry_run or not builds else _prepare(client, settled, item, say))
    return Applied(client.url, version, tuple(items), tuple(notes))


def _check_plugins(client: JenkinsClient) -> list[str]:
    """Raise ConfigError that names each plugin that is missing; whoever may not see the plugins is told so."""
    try:
        found = client.get("pluginManager/api/json", "plugins[shortName,version,active,enabled]")
    except Forbidden:
        return ["plugins were not checked: that needs the Overall/SystemRead permission"]
    if faults := plugins.faults(found.get("plugins", [])):
        raise ConfigError(
            f"plugins of Jenkins at {client.url}: " + "; ".join(faults),
            hint="an administrator installs and enables them: Manage Jenkins > Plugins",
        )
    return []


def _places(client: JenkinsClient, config: Config) -> list[_Place]:
    """Each folder on the way, from the top."""
    parts, found, exists = folder_of(config).split("/"), [], True
    for depth in range(1, len(parts) + 1):
        name, ours = "/".join(parts[:depth]), False
        about = _look(client, name) if exists else None
        if about and about.get("_class") != job_xml.FOLDER:
            raise ConfigError(
                f"{name} on {client.url} is no folder, but {about.get('_class')}", hint="change [jenkins] folder"
            )
        if about:
            ours = bool(job_xml.MARK.search(about.get("description") or ""))
        exists = about is not None
        found.append(_Place(name, exists, ours))
    return found


def _look(client: JenkinsClient, full_name: str) -> dict[str, Any] | None:
    try:
        return client.get(f"{job_path(full_name)}/api/json", "name,description")
    except NotThere:
        return None


def _settle_folder(
    client: JenkinsClient, place: _Place, model: str, *, dry_run: bool, say: Callable[[str], None]
) -> Item:
    """A folder that exists is left as it is: its permissions and credentials are its administrator's."""
    if place.exists:
        return Item("folder", place.name, "unchanged" if place.ours else "used")
    if not dry_run:
        _create(client, place.name, job_xml.folder_xml(model))
        say(f"{place.name}: folder created")
    return Item("folder", place.name, "created")


def _create(client: JenkinsClient, full_name: str, xml: str) -> bool:
    """Create a folder or a job; False when it is there, as somebody else was faster."""
    parent, _, name = full_name.rpartition("/")
    place = job_path(parent) + "/" if parent else ""
    try:
        client.post(f"{place}createItem?{urlencode({'name': name})}", body=xml)
    except Refused as error:
        if error.status != 400:
            raise
        if _look(client, full_name) is None:
            raise Refused(
                str(error), hint=f"if it is there, {full_name} is hidden: that needs Job/Read", status=error.status
            ) from None
        return False
    return True


def _wish(client: JenkinsClient, folder: str, job: Job, *, there: bool) -> _Wish:
    """What is to be done about a job; raises ConfigError when what is in its place is not ours."""
    name = f"{folder}/{job.name}"
    path = job_path(name)
    try:
        xml = client.xml(f"{path}/config.xml") if there else None
    except NotThere:
        xml = None
    tree = job_xml.empty_job() if xml is None else job_xml.parse(xml, name)
    if xml is not None:
        _check_owner(client, tree, name, job)
    return _Wish(job, folder, path, tree, xml is not None, tuple(job_xml.merge(tree, job)))


def _check_owner(client: JenkinsClient, tree: ET.Element, name: str, job: Job) -> None:
    where, wanted = f"{name} on {client.url}", job_xml.mark(f"job {job.name}", job.model)
    owner = job_xml.owner(tree)
    if tree.tag != job_xml.FLOW:
        raise ConfigError(f"{where} is no pipeline job, but {tree.tag}", hint="rename it, or change [jenkins] folder")
    if owner is None:
        raise ConfigError(
            f"{where} is not Trainyard's, so it is left alone, and nothing was changed",
            hint=f"rename it, change [jenkins] folder, or hand it over by writing into its description: {wanted}",
        )
    if wanted not in (tree.findtext("description") or ""):
        raise ConfigError(
            f"{where} is Trainyard's {owner[0]} of model {owner[1]}; nothing was changed",
            hint="each model needs a folder of its own: change [jenkins] folder",
        )


def _settle(client: JenkinsClient, wish: _Wish, say: Callable[[str], None]) -> _Wish:
    """Write the job if it differs, and see that Jenkins has kept it."""
    if wish.action == "unchanged":
        return wish
    if not wish.exists and not _create(client, wish.name, job_xml.write(wish.tree)):
        wish = _wish(client, wish.folder, wish.job, there=True)  # somebody else's, of just now
    if wish.exists and wish.differences:
        client.post(f"{wish.path}/config.xml", body=job_xml.write(wish.tree))
    now = _wish(client, wish.folder, wish.job, there=True)
    if not now.exists or now.differences:
        lost = ", ".join(each.what for each in now.differences) if now.exists else "the job itself"
        raise ConfigError(
            f"Jenkins at {client.url} did not keep all of {wish.name}: {lost}",
            hint="is a plugin missing or too old, or does somebody else change this job just now?",
        )
    say(f"{wish.name}: {wish.action}")
    return now


def _prepare(client: JenkinsClient, wish: _Wish, item: Item, say: Callable[[str], None]) -> Item:
    """Start the build that registers the triggers; after that the description says no more that it is to come."""
    try:
        client.post(f"{wish.path}/buildWithParameters", PREPARE)
    except Refused as error:
        if error.status != 409:
            raise
        return dataclasses.replace(item, build=False, note="disabled: enable it, then apply again")
    description = wish.tree.findtext("description") or ""
    client.post(f"{wish.path}/submitDescription", {"description": job_xml.without_pending(description)})
    say(f"{wish.name}: first build asked for")
    return item
