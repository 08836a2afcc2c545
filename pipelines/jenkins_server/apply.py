"""`trainyard jenkins apply`: create or update the folder and the Jenkins jobs of a model, and change nothing else.

First every definition, then the builds that register triggers. An interrupted `apply` resumes: the description of a
Jenkins job says whether that build is still to be started.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlencode

from pipelines.config.schema import Config
from pipelines.jenkins_server import job_xml, plugins
from pipelines.jenkins_server.client import JenkinsClient, job_path
from pipelines.jenkins_server.config_checks import check_config
from pipelines.jenkins_server.errors import Forbidden, NotFound, Refused
from pipelines.jenkins_server.job_xml import Difference
from pipelines.jenkins_server.jobs import JenkinsJob, folder_of, folders_of, jobs_of
from registry.dataclass import dataclass
from registry.errors import ConfigError

Action = Literal["created", "changed", "unchanged", "used"]
PREPARE = {"ONLY_PREPARE": "true", "REASON": "trainyard jenkins apply", "delay": "0sec"}


@dataclass(frozen=True, slots=True)
class Item:
    """What was done, or with --dry-run would be, to one folder or Jenkins job; `used`: a folder of somebody's own."""

    kind: Literal["folder", "job"]
    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    build: bool = False
    """Whether a build is started that registers its triggers."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """Everything that was done, and notes for a person."""

    url: str
    version: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the path to the Jenkins jobs."""

    name: str
    model: str
    """Whose jobs are in it; empty: several models'."""
    exists: bool
    managed: bool


@dataclass(frozen=True, slots=True)
class _Update:
    """A Jenkins job as the config defines it, `tree` with the merged config.xml, and how that differs from Jenkins'."""

    job: JenkinsJob
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
    """Create and update; `say` gets a line for each change. Raises ConfigError, where possible before any change."""
    check_config(config)
    version = client.version()
    notes = _check_plugins(client, retraining=bool(config.schedule.monitor) and config.monitoring.on_alarm == "retrain")
    folders = _folders(client, config)
    there = all(folder.exists for folder in folders)
    updates = [_compare(client, folder_of(config), job, there=there) for job in jobs_of(config)]
    items = [_ensure_folder(client, folder, dry_run=dry_run, say=say) for folder in folders]
    jobs = [(update if dry_run else _write(client, update, say), update) for update in updates]
    for written, update in jobs:
        builds = build and written.job.has_triggers and job_xml.is_pending(written.tree)
        item = Item("job", update.name, update.action, update.differences, builds)
        items.append(item if dry_run or not builds else _start_first_build(client, written, item, say))
    return Applied(client.url, version, tuple(items), tuple(notes))


NOT_LISTED = (
    "that needs the Overall/SystemRead permission, which a Jenkins has only when it is started with "
    "-Djenkins.security.SystemReadPermission=true; compare them with the table in docs/how-to/jenkins.md"
)


def _check_plugins(client: JenkinsClient, *, retraining: bool) -> list[str]:
    """Raise ConfigError that names each missing plugin; returns a note when this user may not list them."""
    try:
        found = client.get("pluginManager/api/json", "plugins[shortName,version,active,enabled]")
    except Forbidden:
        return [f"plugins were not checked: {NOT_LISTED}"]
    if problems := plugins.problems(found.get("plugins", []), retraining=retraining):
        raise ConfigError(
            f"plugins of Jenkins at {client.url}: " + "; ".join(problems),
            hint="an administrator installs and enables them: Manage Jenkins > Plugins",
        )
    return []


def _folders(client: JenkinsClient, config: Config) -> list[_Folder]:
    """Each folder on the path, from the top."""
    found, exists = [], True
    for name, model in folders_of(config).items():
        managed = False
        about = _find(client, name) if exists else None
        if about and about.get("_class") != job_xml.FOLDER:
            raise ConfigError(
                f"{name} on {client.url} is not a folder, but {about.get('_class')}", hint="change [jenkins] folder"
            )
        if about:
            managed = bool(job_xml.MARK.search(about.get("description") or ""))
        exists = about is not None
        found.append(_Folder(name, model, exists, managed))
    return found


def _find(client: JenkinsClient, full_name: str) -> dict[str, Any] | None:
    try:
        return client.get(f"{job_path(full_name)}/api/json", "name,description")
    except NotFound:
        return None


def _ensure_folder(client: JenkinsClient, folder: _Folder, *, dry_run: bool, say: Callable[[str], None]) -> Item:
    """Create the folder; one that exists stays as it is, as its permissions and credentials are its administrator's."""
    if folder.exists:
        return Item("folder", folder.name, "unchanged" if folder.managed else "used")
    if not dry_run:
        _create(client, folder.name, job_xml.folder_xml(folder.model))
        say(f"{folder.name}: folder created")
    return Item("folder", folder.name, "created")


def _create(client: JenkinsClient, full_name: str, xml: str) -> bool:
    """Create a folder or a Jenkins job; False when a concurrent `apply` has created it."""
    parent, _, name = full_name.rpartition("/")
    prefix = job_path(parent) + "/" if parent else ""
    try:
        client.post(f"{prefix}createItem?{urlencode({'name': name})}", body=xml)
    except Refused as error:
        if error.status != 400:
            raise
        if _find(client, full_name) is None:
            raise Refused(
                str(error),
                hint=f"it may exist and be hidden from you: that needs Job/Read on {full_name}",
                status=error.status,
            ) from None
        return False
    return True


def _compare(client: JenkinsClient, folder: str, job: JenkinsJob, *, there: bool) -> _Update:
    """Compare a job with Jenkins; raises ConfigError when Jenkins has something else under its name."""
    name = f"{folder}/{job.name}"
    path = job_path(name)
    try:
        xml = client.xml(f"{path}/config.xml") if there else None
    except NotFound:
        xml = None
    tree = job_xml.empty_job() if xml is None else job_xml.parse(xml, name)
    if xml is not None:
        _check_owner(client, tree, name, job)
    return _Update(job, folder, path, tree, xml is not None, tuple(job_xml.merge(tree, job)))


def _check_owner(client: JenkinsClient, tree: ET.Element, name: str, job: JenkinsJob) -> None:
    where, wanted = f"{name} on {client.url}", job_xml.mark(f"job {job.name}", job.model)
    owner = job_xml.owner(tree)
    if tree.tag != job_xml.FLOW:
        raise ConfigError(
            f"{where} is not a pipeline job, but {tree.tag}", hint="rename it, or change [jenkins] folder"
        )
    if owner is None:
        raise ConfigError(
            f"{where} is not managed by Trainyard; nothing was changed",
            hint=f"rename it, change [jenkins] folder, or hand it over by adding to its description: {wanted}",
        )
    if wanted not in (tree.findtext("description") or ""):
        raise ConfigError(
            f"{where} is Trainyard's {owner[0]} of model {owner[1]}; nothing was changed",
            hint="use another [jenkins] folder: each model needs its own",
        )


def _write(client: JenkinsClient, update: _Update, say: Callable[[str], None]) -> _Update:
    """Write the Jenkins job if it differs, and check that Jenkins has kept everything."""
    if update.action == "unchanged":
        return update
    if not update.exists and not _create(client, update.name, job_xml.write(update.tree)):
        update = _compare(client, update.folder, update.job, there=True)  # a concurrent `apply` was faster
    if update.exists and update.differences:
        client.post(f"{update.path}/config.xml", body=job_xml.write(update.tree))
    now = _compare(client, update.folder, update.job, there=True)
    if not now.exists or now.differences:
        lost = ", ".join(each.what for each in now.differences) if now.exists else "the job itself"
        raise ConfigError(
            f"Jenkins at {client.url} did not keep all of {update.name}: {lost}",
            hint="is a plugin missing or too old, or is somebody editing this Jenkins job?",
        )
    say(f"{update.name}: {update.action}")
    return now


def _start_first_build(client: JenkinsClient, update: _Update, item: Item, say: Callable[[str], None]) -> Item:
    """Start the build that registers the triggers, then remove the note about it from the description."""
    try:
        client.post(f"{update.path}/buildWithParameters", PREPARE)
    except Refused as error:
        if error.status != 409:
            raise
        return dataclasses.replace(item, build=False, note="disabled: enable it, then apply again")
    description = update.tree.findtext("description") or ""
    client.post(f"{update.path}/submitDescription", {"description": job_xml.without_pending(description)})
    say(f"{update.name}: first build queued")
    return item
