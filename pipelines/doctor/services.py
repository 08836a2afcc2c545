"""What the config names: repositories, registry, mail server, secrets and the API; one function per check."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines import docker_engine
from pipelines.approvals.policy import in_words
from pipelines.approvals.tokens import SECRET_FILE, approval_secret
from pipelines.config.load import secret, secret_source
from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.deploy.serve_job import serve_job
from pipelines.doctor.finding import PATIENCE, Finding, State
from pipelines.mail.outbox import try_server
from pipelines.repositories import git
from pipelines.trust import Signing, open_registry, open_unsigned
from registry import candidates, releases
from registry.stores import signatures_of
from registry.trusted import UNSIGNED
from serving.access.checks import check
from serving.access.exposure import refuse_exposed
from serving.server.ports import refuse_without_grpc


def repository(config: Config, name: str) -> Finding:
    """The repository can be read, and has the watched branch."""
    url, branch = getattr(config.repositories, name), config.repositories.branch_of(name)
    commit = git.head(url, branch, name, PATIENCE)
    return Finding("ok", f"{git.redact(url)}, {branch} is at {commit[:10]}")


def registry(config: Config) -> Finding:
    """The registry can be written, and of those who create one file at once just one succeeds."""
    url = config.registry.url
    open_unsigned(config).probe()
    how = (
        "with hard links" if url.startswith("file://") else "and of concurrent creates of one object just one succeeds"
    )
    return Finding("ok", f"{url}: can be written, {how}")


def signatures(config: Config) -> Finding:
    """The registry's records are signed, by a key that this machine has."""
    store = open_registry(config, only_look=True)
    own = signatures_of(store)
    if not isinstance(own, Signing):
        what = "the registry's records are not signed: who can write it can replace any of them"
        state: State = "warn" if not config.registry.require_signatures else "fail"
        return Finding(state, what, "`trainyard registry adopt` signs what is there, and what will be written")
    if not own.has_begun():
        return Finding("ok", "the registry is new: its first run makes a key")
    own.verify_keys()
    return Finding("ok", f"records are signed with key {own.signer().public.short}")


def versions(config: Config) -> Finding:
    """What is live, and which version waits for a person."""
    store, model = open_registry(config, only_look=True), config.model
    newest = candidates.newest(store, model)
    if newest is None:
        return Finding("ok", "no version yet: the first push makes one")
    history = releases.releases(store, model)
    live = history[-1].version if history else None
    said = f"version {live} is live" if live else "nothing is live"
    if newest in {each.version for each in history}:
        return Finding("ok", f"{said}, no version waits for an approval")
    tests = candidates.acceptances(store, model, newest)
    if not tests or not tests[-1].accepted:
        how = "failed its acceptance tests" if tests else "has had no acceptance test yet"
        return Finding("ok", f"{said}; version {newest} {how}")
    run = candidates.manifest(store, model, newest).run
    return Finding(
        "ok",
        f"{said}; version {newest} waits for an approval",
        f"the mail about run {run} has the command; `trainyard run tests --force` tests it again and mails a new one",
    )


def mail(config: Config) -> Finding:
    """The mail server accepts a session; without a server, mails stay in the outbox."""
    settings = config.mail
    if not settings.host:
        outbox = config.own_folder / "outbox"
        return Finding("ok", f"no [mail] host: mails are written to {outbox}", "set [mail] host to have them sent")
    password = secret("SMTP_PASSWORD")
    timeout = min(settings.timeout_seconds, PATIENCE)
    if problem := try_server(replace(settings, timeout_seconds=timeout), password):
        return Finding("fail", problem, "mails wait in the outbox until this works: check [mail]")
    where = f"{settings.host}:{settings.port} ({settings.security})"
    if settings.username and not password:
        return Finding("warn", f"{where} answers, but no password is set", "set TRAINYARD_SMTP_PASSWORD or …_FILE")
    return Finding("ok", f"{where} " + ("accepts our login" if settings.username else "answers"))


def other_tools(config: Config) -> Finding:
    """MLflow answers, and shows the experiment; nothing waits for it or for OpenLineage."""
    from pipelines.exports.tracking import look, waiting

    settings = replace(config.tracking, timeout_seconds=min(config.tracking.timeout_seconds, PATIENCE))
    if problem := look(replace(config, tracking=settings)):
        return Finding("warn", problem, "no run fails by it: records wait, and are sent later; check [tracking]")
    if count := waiting(config):
        return Finding("ok", f"{count} record{'s' if count > 1 else ''} waiting to be sent", "the next run sends them")
    return Finding("ok", " and ".join(each for each in (settings.mlflow, settings.openlineage) if each))


def approvals(home: Path) -> Finding:
    """There is a secret to sign approvals with, or one can be created."""
    given = secret_source("APPROVAL_SECRET")
    own = home / SECRET_FILE
    if given is None and not own.exists():
        return Finding("ok", f"will be created with the first approval, in {own}")
    approval_secret(home)
    return Finding("ok", str(own) if given is None else f"from TRAINYARD_APPROVAL_SECRET{given}")


def approvers(config: Config) -> Finding:
    """Who may approve a release."""
    policy = config.approval
    if said := in_words(policy):
        return Finding("ok", said)
    return Finding(
        "ok", "whoever holds the token of the mail may approve", "see docs/how-to/approvals.md: people, keys, how many"
    )


def access(config: Config) -> Finding:
    """Who may ask the API, and whether it may listen where it is to."""
    serving, job = config.serving, serve_job(config)
    if serving.deploy == "jenkins":  # its files are on another machine, perhaps
        refuse_exposed(job)
        return Finding("ok", "files are checked where Jenkins' promotion job starts the API")
    notes = check(job)  # raises for what would not start
    if notes:
        return Finding("warn", "; ".join(notes), "see docs/how-to/who-may-ask.md")
    if serving.auth == "tokens":
        who = "who has a token"
    elif serving.open:
        who = "everybody who reaches it: open = true"
    else:
        who = "everybody on this machine"
    return Finding("ok", f"{who}; {'TLS' if serving.certfile else 'no TLS'}")


def api_that_runs(url: str, served: dict[str, Any], others: Mapping[str, str], remedy: str) -> Finding:
    """What an API at `url` that answers `served`, as `worker_status.of_all`, is worth; `others` are settings that differ."""
    what = f"the API runs at {url}, release {served.get('release') or 'none yet'}"
    if others:
        return Finding("warn", f"{what}, but with other settings ({'; '.join(others.values())})", remedy)
    if any(each.get("verified") == UNSIGNED for each in served.get("workers", ())):
        adopt = "`trainyard registry adopt` signs what is there; a running API follows by itself"
        return Finding("warn", f"{what}; it verifies nothing: the registry is not signed", adopt)
    return Finding("ok", what)


def serving(config: Config) -> Finding:
    """The API answers at its port, or the port is free."""
    if config.serving.deploy == "jenkins":
        return Finding(
            "ok",
            "the API runs where Jenkins' promotion job starts it",
            f"check it there with `trainyard serve {config.model} --status --here`",
        )
    host, port = config.serving.host, config.serving.port
    api = open_deployment(config)
    if url := api.running():
        return api_that_runs(url, api.version(), api.changed(serve_job(config)), api.remedy)
    if config.serving.deploy == "docker" and not docker_engine.address().startswith("unix://"):
        where = docker_engine.address()
        return Finding("ok", f"no API is running; {host}:{port} belongs to the engine at {where} and is not checked")
    if config.serving.deploy == "process" and config.serving.grpc_port:
        refuse_without_grpc()
    ports = {"port": port} | ({"grpc_port": config.serving.grpc_port} if config.serving.grpc_port else {})
    for setting, each in ports.items():
        if problem := _cannot_listen(host, each):
            what = f"cannot listen on {host}:{each}: {problem}"
            return Finding("fail", what, f"set [serving] {setting} (or host), or stop the other program")
    free = " and ".join(f"{host}:{each}" for each in ports.values())
    return Finding("ok", f"{free} {'is' if len(ports) == 1 else 'are'} free")


def _cannot_listen(host: str, port: int) -> str:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(1)
    except OSError as error:
        return str(error.strerror)
    return ""
