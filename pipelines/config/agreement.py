"""What the settings must agree on, once each has the right type: names, addresses, and what excludes what. No files, no environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from pipelines.config import auto_promote, console_rules, cron
from pipelines.config.addresses import folder_problem, is_address, is_http, names_a_server, parted
from pipelines.config.bounds import PUBLIC_KEY
from pipelines.config.gate_settings import gate_problems
from pipelines.config.schema import (
    ApprovalPolicy,
    Config,
    Mail,
    PredictionLog,
    Registry,
    Repositories,
    Serving,
    Tracking,
)
from registry.errors import ConfigError

# For https a user name may be a token; for ssh it is the name of an account.
PLAIN_URL = re.compile(r"[A-Za-z0-9:/._~%!$&'()*+,;=@\[\]-]*")
SECRET_IN_URL = re.compile(r"^https?://.*@|://[^/@:]*:[^/@]*@", re.IGNORECASE | re.DOTALL)
LOCAL = {"", "localhost", "127.0.0.1", "::1"}
ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
TRUSTED = re.compile(
    r"/[^\x00-\x1f]+|s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x1f]+)?|[A-Za-z0-9][A-Za-z0-9.\-]*(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?"
)
DATA_STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x1f]*)?|(file://)?(?!.*://)[^\x00-\x1f]+")
MAIL_HOST = re.compile(r"[\w.\-]+|(?=.*:.*:)[0-9A-Fa-f:]+")
HOST = re.compile(r"[A-Za-z0-9.\-]+|(?=.*:.*:)[0-9A-Fa-f:]+")  # two colons: `cafe:8500` has a port


def disagreements(config: Config) -> Iterator[str]:
    """What is wrong with values of the right type: names, URLs, and settings that exclude each other."""
    plain = config.model.replace("-", "").replace("_", "")
    if not plain.isalnum() or not config.model[:1].isalnum() or len(config.model) > 64:
        called = f"{config.model!r}, the name of its folder," if config.shared else repr(config.model)
        yield f"model: {called} may hold letters, digits, - and _ only, at most 64, and starts with a letter or a digit"
    yield from _repositories(config.repositories)
    yield from _registry(
        config.registry, batch=config.batch.input.startswith("s3://") or config.batch.output.startswith("s3://")
    )
    if config.registry.url.startswith("s3://") and config.serving.registry_volume:
        yield "serving.registry_volume: is for a registry in a folder, and [registry] url is a bucket: remove it"
    yield from _cache(config)
    yield from gate_problems(config.gate)
    if config.gate.said and not config.training.command:
        yield f"gate.rule: {config.gate.said[0]} is a number that a script reports, and training.command names no script"
    if config.gate.recent and not config.prediction_log.enabled:
        yield "gate.recent: compares on predictions that the API has kept: set prediction_log.enabled = true"
    for name in ("url", "repository"):
        if SECRET_IN_URL.search(getattr(config.jenkins, name)):
            yield (
                f"jenkins.{name}: holds a user name or a password; name Jenkins' credentials in "
                "jenkins.git_credentials, and put your API token into TRAINYARD_JENKINS_TOKEN"
            )
    for each in config.serving.trusted_proxies:
        try:
            ip_network(each)
        except ValueError as error:
            yield f"serving.trusted_proxies: {error}; an address (10.0.0.7) or a network (10.0.0.0/8) is needed"
    yield from _access(config.serving)
    yield from _tracking(config.tracking)
    yield from _prediction_log(config.prediction_log)
    yield from _address("monitoring.webhook", config.monitoring.webhook, "; a token comes from TRAINYARD_MONITOR_TOKEN")
    yield from _report(config.report.url)
    yield from auto_promote.problems(config)
    yield from _approvers(config.approval)
    yield from cron.problems(config.schedule)
    yield from console_rules.problems(config.console)
    yield from _mail(config.mail)
    if config.mail.security == "none" and config.mail.host not in LOCAL:
        yield 'mail.security: "none" is for a server on this machine only'


def _registry(registry: Registry, *, batch: bool) -> Iterator[str]:
    """`batch`: another bucket is read or written, and reached in the same way."""
    yield from _archive(registry)
    if not registry.url.startswith("s3://"):
        for name in () if batch else ("endpoint", "region", "profile", "sse", "kms_key", "storage_class"):
            if getattr(registry, name):
                yield f"registry.{name}: is for a registry in a bucket, and [registry] url is not s3://bucket/prefix"
        return
    from registry.s3_client import check_endpoint, parse_url  # with what a registry in a folder does not need

    for check, text in ((parse_url, registry.url), (check_endpoint, registry.endpoint)):
        try:
            check(text, "[registry]")
        except ConfigError as error:
            yield f"{error} ({error.hint})"
    if registry.kms_key and not registry.sse.startswith("aws:kms"):
        yield 'registry.kms_key: needs registry.sse = "aws:kms"'


def _archive(registry: Registry) -> Iterator[str]:
    url = registry.archive
    if url.startswith("s3://"):
        from registry.s3_client import parse_url

        try:
            parse_url(url, "[registry] archive")
        except ConfigError as error:
            yield f"{error} ({error.hint})"
    elif ("://" in url or url.startswith(("s3:", "file:"))) and not url.startswith("file://"):
        yield f"registry.archive: {url!r:.200} is neither s3://BUCKET/PREFIX nor file://FOLDER nor a folder"


def _cache(config: Config) -> Iterator[str]:
    url = config.cache.url
    if url and not url.startswith(("file://", "s3://")):
        yield f"cache.url: {url!r} begins neither with file:// nor with s3://"
    elif url.startswith("s3://"):
        from registry.s3_client import parse_url

        try:
            parse_url(url, "[cache]")
        except ConfigError as error:
            yield f"{error} ({error.hint})"
    if url == config.registry.url:
        yield "cache.url: is the registry, which never deletes anything: name another folder, or another prefix"


def _mail(mail: Mail) -> Iterator[str]:
    for name, texts in (("to", mail.to), ("sender", (mail.sender,)), ("reply_to", mail.reply_to)):
        for each in texts:
            if not is_address(each):
                several = ', or several as a list: ["ada@…", "bo@…"]' if name != "sender" else ""
                yield f'mail.{name}: {each!r:.200} is not a mail address; write "name@company.example", in ASCII{several}'
    if mail.host and not MAIL_HOST.fullmatch(mail.host):
        yield f'mail.host: {mail.host!r:.200} is not the name of a server, e.g. "mail.company.example"; its port is mail.port'
    if not mail.to:
        yield "mail.to: empty: nobody would be asked to approve"


def _repositories(repositories: Repositories) -> Iterator[str]:
    for name in ("code", "dataset", "tests", "branch"):
        if not getattr(repositories, name):
            yield f"repositories.{name}: empty"
    for name in ("code", "dataset", "tests"):
        if SECRET_IN_URL.search(getattr(repositories, name)):
            yield (
                f"repositories.{name}: holds a user name or a password; git's credential helper or a deploy key keeps "
                "it out of logs (an @ that belongs to the path is written %40)"
            )
        if (folder := repositories.folder_of(name)) and (why := folder_problem(folder)):
            yield f"repositories.{name}_folder: {why}"
        if "#" in (address := getattr(repositories, name)) and folder:
            yield f"repositories.{name}_folder: {address!r:.200} names a folder, too"
        if (why := folder_problem(parted(address)[1])) and not folder:
            yield f"repositories.{name}: {why}"
    for each in repositories.trusted:
        if not TRUSTED.fullmatch(each):
            example = '"git.example.org", "git.example.org:8443"'
            yield f"repositories.trusted: {each!r} is neither a host (e.g. {example}) nor an absolute folder, nor s3://BUCKET"
    if (store := repositories.data_store) and not DATA_STORE.fullmatch(store):
        yield f"repositories.data_store: {store!r:.200} is neither s3://BUCKET/PREFIX nor file://FOLDER nor a folder"


def _tracking(tracking: Tracking) -> Iterator[str]:
    for name in ("mlflow", "openlineage"):
        if SECRET_IN_URL.search(getattr(tracking, name)):
            yield f"tracking.{name}: holds a user name or a password; they come from the environment"
    if tracking.mlflow and not is_http(tracking.mlflow):
        yield f"tracking.mlflow: {tracking.mlflow!r} does not begin with http:// or https://"
    if "://" in tracking.openlineage and not is_http(tracking.openlineage):
        yield f"tracking.openlineage: {tracking.openlineage!r} is neither an http(s) address nor a file"
    if not tracking.experiment.isprintable() or len(tracking.experiment) > 250:
        yield "tracking.experiment: a name in one line, of at most 250 characters"


def _prediction_log(log: PredictionLog) -> Iterator[str]:
    if log.sink == "http" and not log.url:
        yield 'prediction_log.url: missing, with prediction_log.sink = "http"'
    if log.sink == "file" and log.url:
        yield 'prediction_log.url: is for prediction_log.sink = "http"'
    yield from _address("prediction_log.url", log.url, "; a token comes from TRAINYARD_PREDICTION_LOG_TOKEN")


def _report(url: str) -> Iterator[str]:
    yield from _address("report.url", url, ", which everybody who gets a mail would have")
    if not PLAIN_URL.fullmatch(url):
        yield f"report.url: {url!r:.200} is not an address that a path can follow: no ? and #, other characters as %XX"


def _address(name: str, url: str, why_no_secret: str) -> Iterator[str]:
    """What is wrong with the address of a server, which may be empty."""
    if SECRET_IN_URL.search(url):
        yield f"{name}: holds a user name or a password{why_no_secret}"
    elif url and not is_http(url):
        yield f"{name}: {url!r:.200} does not begin with http:// or https://"
    elif url and not names_a_server(url):
        yield f"{name}: {url!r:.200} has no host, or a port that cannot be"


def _access(serving: Serving) -> Iterator[str]:
    if bool(serving.certfile) != bool(serving.keyfile):
        yield "serving.certfile and serving.keyfile: TLS needs both"
    for name, port in (("port", serving.port), ("admin_port", serving.admin_port)):
        if port and port == serving.grpc_port:
            yield f"serving.grpc_port: {port} is serving.{name} already"
    if serving.traces and not ORIGIN.fullmatch(serving.traces):
        yield f'serving.traces: {serving.traces!r} is not the URL of a collector, e.g. "http://127.0.0.1:4318"'
    for each in serving.cors_origins:
        if not ORIGIN.fullmatch(each):
            yield f'serving.cors_origins: {each!r} is not an origin, e.g. "https://shop.example", without a path'
    for each in serving.allowed_hosts:
        if not HOST.fullmatch(each):
            yield f'serving.allowed_hosts: {each!r} is not a name, e.g. "api.example", without a port'


def _approvers(policy: ApprovalPolicy) -> Iterator[str]:
    for entry in policy.approvers:
        if not entry.strip() or not entry.isprintable():
            yield f"approval.approvers: {entry!r:.100} is neither a name nor a public key"
        elif entry.startswith(("ssh-", "ecdsa-", "sk-", "-----")) and not PUBLIC_KEY.match(entry):
            yield (
                f"approval.approvers: {entry!r:.60} is not an Ed25519 public key in one line "
                "(`ssh-ed25519 AAAA… name`); `ssh-keygen -t ed25519` makes one"
            )
    if 0 < len(policy.approvers) < policy.needed:
        yield f"approval.needed: {policy.needed} people, but approval.approvers lists {len(policy.approvers)}"
