"""Runs and releases for MLflow and OpenLineage, as `[tracking]` says. Nothing here raises, and a run does not depend on it.

What cannot be sent now waits in `<home>/tracking`, and is sent on the next occasion: a run's start and end, a promotion, a
rollback. Which version is live, or may become it, is not kept: it is read from the registry whenever it is to be sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.config.held import environment_with_held
from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.exports import mlflow_documents, openlineage
from pipelines.exports.outbox import Outbox
from pipelines.mail.facts import MailFacts
from pipelines.report.facts import gather
from pipelines.report.files import MAX_ALL, Collected
from pipelines.repositories.git import redact
from pipelines.runs import RunFolder
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.errors import Corrupt, PipelineError
from registry.files import write_whole
from registry.records import utc_now
from registry.stores import Store
from training.worker.protocol import one_line, read_foreign

if TYPE_CHECKING:
    from pipelines.exports.mlflow_server import MLflow

MLFLOW, OPENLINEAGE = "mlflow", "openlineage"
WHOLE = 30.0
"""Seconds for all that is sent to MLflow at once, while it answers, and one more per megabyte of a model; the rest follows
on the next occasion."""
NEWEST = 20
"""Versions among which the next champion is looked for."""
MAX_ARTIFACT = 2 << 20  # bytes; no file of a report is larger


def announce(context: Context, folder: RunFolder) -> tuple[str, ...]:
    """A run begins; gives what prevented that this is recorded."""
    config = context.config
    if not config.tracking.openlineage:
        return ()

    def act() -> Iterator[str]:
        event = openlineage.start_event(folder.run, _repositories(context))
        yield from _put(config, OPENLINEAGE, f"{folder.run.id}-start", event)
        yield from _send_events(config)

    return _all(act)


def record(context: Context, folder: RunFolder, facts: MailFacts) -> tuple[tuple[str, str], ...]:
    """A run has ended, its report is written; gives (tool, page or problem), for the mail."""
    config, found = context.config, []
    if config.tracking.openlineage:

        def end() -> Iterator[str]:
            made = candidates.find_run(context.store, folder.run.model, folder.run.id) if _registered(folder) else None
            event = openlineage.end_event(facts, utc_now(), _repositories(context), redact(config.registry.url), made)
            yield from _put(config, OPENLINEAGE, f"{folder.run.id}-end", event)
            yield from _send_events(config)

        found += [("OpenLineage", problem) for problem in _all(end)]
    if config.tracking.mlflow:
        problems = (*_all(lambda: _put_run(context, folder, facts)), *catch_up(config, context.store))
        found += [("MLflow", problem) for problem in problems]
        if page := _page(folder.root):
            found.append(("MLflow", page))
    return tuple(found)


def catch_up(config: Config, store: Store) -> tuple[str, ...]:
    """Send MLflow what waits, and which version is live now; gives what prevented it."""
    return _all(lambda: _send_runs(config, store)) if config.tracking.mlflow else ()


def look(config: Config) -> str:
    """Why MLflow could not be written to; empty when it seems to work, or is not set."""
    from pipelines.exports.http import Refused, Unavailable

    try:
        if config.tracking.mlflow:
            _mlflow(config).look(config.tracking.experiment or config.model)
    except (Refused, Unavailable) as why:
        return str(why)
    return ""


def waiting(config: Config) -> int:
    """How many records wait to be sent."""
    return len(_outbox(config).waiting())


def send_waiting(config: Config) -> tuple[str, ...]:
    """Send what waits, if anything does; gives what prevented it."""
    if not _outbox(config).waiting():
        return ()
    events = _all(lambda: _send_events(config)) if config.tracking.openlineage else ()
    runs = catch_up(config, open_registry(config, only_look=True))
    return (*events, *runs)


def _all(act: Callable[[], Iterator[str]]) -> tuple[str, ...]:
    """All problems that `act` yields, and the one by which it ended."""
    problems: list[str] = []
    try:
        problems.extend(act())
    except (PipelineError, OSError) as error:
        problems.append(f"not recorded: {error}")
    except Exception as bug:  # noqa: BLE001  (a run must not fail by it)
        traceback.print_exc()
        problems.append(f"not recorded, a bug in Trainyard: {bug!r}")
    return tuple(one_line(each) for each in problems)


def _put(config: Config, tool: str, name: str, document: dict[str, Any]) -> Iterator[str]:
    if dropped := _outbox(config).put(tool, name, document):
        yield f"{dropped} records were dropped, the oldest: too many wait in {_outbox(config).folder}"


def _put_run(context: Context, folder: RunFolder, facts: MailFacts) -> Iterator[str]:
    known = gather(context, folder, facts, Collected())
    manifest = known.manifest if known.made is not None else None
    settings = context.config.outcome_settings
    document = mlflow_documents.run_document(facts, manifest, known.history, settings, _repositories(context))
    yield from _put(context.config, MLFLOW, folder.run.id, {"folder": str(folder.root), "document": document})


def _send_events(config: Config) -> Iterator[str]:
    from pipelines.exports.http import Refused, Unavailable
    from pipelines.exports.lineage_sink import write_event

    tracking, outbox = config.tracking, _outbox(config)
    with outbox.delivering(OPENLINEAGE) as mine:
        for path in outbox.waiting(OPENLINEAGE) if mine else ():
            if (event := outbox.read(path)) is None:
                continue
            try:
                write_event(tracking.openlineage, event, _secret("OPENLINEAGE_API_KEY"), tracking.timeout_seconds)
            except Unavailable as why:
                yield f"{why}; the next run sends what waits ({len(outbox.waiting(OPENLINEAGE))})"
                return
            except Refused as why:
                yield f"an event was refused, and is dropped: {why}"
            path.unlink(missing_ok=True)


def _send_runs(config: Config, store: Store) -> Iterator[str]:
    from pipelines.exports.http import Refused, Unavailable

    tracking, outbox, server = config.tracking, _outbox(config), _mlflow(config)
    with outbox.delivering(MLFLOW) as mine:
        if not mine:  # another process sends all of it
            return
        try:
            for path in outbox.waiting(MLFLOW):
                if (waiting := outbox.read(path)) is None:
                    continue
                folder, document = Path(waiting["folder"]), waiting["document"]
                try:
                    name, model = tracking.experiment or config.model, _model(config, store, document)
                    page, notes = server.write_run(document, name, _artifacts(folder), model)
                except Refused as why:
                    yield f"run {document['run']} was refused, and is dropped: {why}"
                else:
                    _keep_page(folder, f"{tracking.mlflow.rstrip('/')}/{page}")
                    yield from notes
                path.unlink(missing_ok=True)
            yield from _send_aliases(config, store, server.set_aliases)
        except Refused as why:
            yield f"the aliases of {config.model} were refused: {why}"
        except Unavailable as why:
            left = len(outbox.waiting(MLFLOW))
            waits = f"{left} waiting run{'s' if left > 1 else ''}" if left else "which version is live"
            yield f"{why}; the next occasion sends {waits}"


def _mlflow(config: Config) -> MLflow:
    from pipelines.exports.http import Bearer, Server
    from pipelines.exports.mlflow_server import MLflow

    tracking = config.tracking
    token, user = _secret("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    auth = Bearer(token) if token else (user, _secret("MLFLOW_TRACKING_PASSWORD")) if user else None
    return MLflow(Server(tracking.mlflow, auth, tracking.timeout_seconds, WHOLE + tracking.model_mb))


def _send_aliases(config: Config, store: Store, send: Callable[..., tuple[str, ...]]) -> Iterator[str]:
    """Have `champion` at what is live, and `challenger` at what may become it; nothing to do when it was sent before."""
    live = releases.live(store, config.model)
    champion = live.version if live else None
    wanted = {"champion": champion, "challenger": _challenger(store, config.model)}
    sent = config.own_folder / "tracking" / f"aliases-{config.model}.json"
    record = json.dumps({"server": config.tracking.mlflow, **wanted}).encode()
    if sent.is_file() and sent.read_bytes() == record:
        return
    if not sent.is_file() and wanted == {"champion": None, "challenger": None}:
        return
    if missing := send(config.model, wanted):
        yield f"no {' and no '.join(missing)}: MLflow has no such version, it was registered before MLflow was set"
    write_whole(sent, record)


def _challenger(store: Store, model: str) -> int | None:
    """The newest version whose acceptance test went well, unless it was released before."""
    for version in islice(candidates.newest_first(store, model), NEWEST):
        tests = candidates.acceptances(store, model, version)
        if tests and tests[-1].accepted:
            return None if releases.release_chain(store, model).records().having("version", version) else version
    return None


def _artifacts(folder: Path) -> dict[str, bytes]:
    """The files of a run's report, with the model card; none when its folder was tidied."""
    found, root = dict[str, bytes](), folder / "report"
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        if path.is_file() and sum(map(len, found.values())) < MAX_ALL:
            with contextlib.suppress(FileNotFoundError, Corrupt):  # it was replaced meanwhile
                found[f"report/{path.relative_to(root).as_posix()}"] = read_foreign(path, MAX_ARTIFACT)
    return found


def _model(config: Config, store: Store, document: Mapping[str, Any]) -> dict[str, Path]:
    """The files of the version that a run has made, every byte checked; none when they are too large to be uploaded."""
    if not (config.tracking.model_mb and document["version"]):
        return {}
    model, version = document["model"], document["version"]["number"]
    folder = candidates.local_folder(store, "test", model, version)
    names = (*candidates.manifest(store, model, version).files, "card.json")
    files = {name: folder / name for name in names}
    return files if sum(path.stat().st_size for path in files.values()) <= config.tracking.model_mb << 20 else {}


def _keep_page(folder: Path, page: str) -> None:
    if (folder / "run.json").is_file():
        (folder / "notify").mkdir(exist_ok=True)
        write_whole(folder / "notify" / "mlflow.txt", f"{page}\n".encode())


def _page(folder: Path) -> str:
    path = folder / "notify" / "mlflow.txt"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _registered(folder: RunFolder) -> bool:
    record = folder.record("register")
    return record is not None and record.outcome == "done"


def _repositories(context: Context) -> dict[str, str]:
    return {name: redact(context.url(name)) for name in ("code", "dataset", "tests")}


def _outbox(config: Config) -> Outbox:
    return Outbox(config.own_folder / "tracking")


def _secret(name: str) -> str:
    return environment_with_held(os.environ).get(name, "")
