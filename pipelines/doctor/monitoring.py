"""Whether the live release can be monitored as `[monitoring]` says."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.doctor.finding import Finding
from pipelines.monitor import webhook
from pipelines.monitor.store import MonitorStore
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.records import Signature
from serving.access.exposure import is_loopback


def monitoring(config: Config) -> Finding:
    """Raises Corrupt for a file of the monitor that cannot be read."""
    store = MonitorStore(config)
    state, newest, silences = store.state(), store.newest(), store.silences()
    used = bool(newest or config.schedule.monitor or config.monitoring.webhook)
    if not config.prediction_log.enabled:
        if not used:
            return Finding(
                "ok", "nothing is monitored: [prediction_log] enabled is false", "see docs/how-to/monitor.md"
            )
        what = "[prediction_log] enabled is false: the API keeps nothing that could be checked"
        return Finding("warn", what, "set it to true, and start the API again")
    problems = [*_about_names(config), *_about_webhook(config)]
    if waiting := webhook.waiting(store.folder):
        problems.append(
            (f"{waiting} notices wait for the webhook", "`trainyard monitor --once` tries again, and says why")
        )
    if problems:
        return Finding("warn", "; ".join(what for what, _ in problems), "; ".join(each for _, each in problems))
    if newest is None:
        return Finding(
            "ok", "no window was checked yet", "`trainyard monitor --once`, or [schedule] monitor for `trainyard watch`"
        )
    lasting = sum(not each.alarm.over for each in state.alarms)
    said = f"last checked {state.looked or newest.at}; {_count(lasting, 'alarm')} open, {_count(len(silences), 'cause')} silenced"
    return Finding("ok", said, "`trainyard monitor show` says more" if lasting else "")


def _about_names(config: Config) -> Iterator[tuple[str, str]]:
    """What is to be ignored, and the live model has neither as an input nor as an output."""
    signature = _live_signature(config) if config.monitoring.ignore else None
    if signature is None:
        return
    known = {each.name for each in (*signature.inputs, *signature.outputs)} | {"class", "confidence"}
    unknown = [each for each in config.monitoring.ignore if not _is_known(each, known)]
    if unknown:
        what = f"[monitoring] ignore: the live model has no {', '.join(map(repr, unknown))}"
        yield what, f"it has {', '.join(sorted(known))}"


def _is_known(ignored: str, known: set[str]) -> bool:
    """Whether it names one of these, with or without its side, or a feature or a place of one."""
    bare = ignored.removeprefix("inputs.").removeprefix("outputs.")
    return any(name in {ignored, bare} or bare.startswith((f"{name}.", f"{name}[")) for name in known)


def _live_signature(config: Config) -> Signature | None:
    store = open_registry(config, only_look=True)
    live = releases.live(store, config.model)
    if live is None or live.version is None:
        return None
    return candidates.manifest(store, config.model, live.version, "production").signature


def _about_webhook(config: Config) -> Iterator[tuple[str, str]]:
    url = config.monitoring.webhook
    parts = urlsplit(url)
    if url and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        has = ", and the token" if secret("MONITOR_TOKEN") else ""
        yield (
            f"[monitoring] webhook {url} is not encrypted: notices{has} can be read on the way",
            "use an https:// address",
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
