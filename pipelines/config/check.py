"""What a value must be to serve as a setting: its type, its bounds, and what settings must agree on. No files, no environment."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from pipelines.config.addresses import is_address, is_http
from pipelines.config.schema import (
    NOT_SETTINGS,
    ONE_OR_MORE,
    PUBLIC_KEY,
    RENAMED,
    ApprovalPolicy,
    Between,
    Config,
    Mail,
    Registry,
    Repositories,
    Serving,
    Tracking,
)
from registry.errors import ConfigError
from registry.records import DIRECTION, Policy
from registry.s3_client import check_endpoint, parse_url

# For https a user name may be a token; for ssh it is the name of an account.
SECRET_IN_URL = re.compile(r"^https?://.*@|://[^/@:]*:[^/@]*@", re.IGNORECASE | re.DOTALL)
LOCAL = {"", "localhost", "127.0.0.1", "::1"}
ORIGIN = re.compile(r"https?://[a-z0-9.\-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?")
TRUSTED = re.compile(
    r"/[^\x00-\x1f]+|s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x1f]+)?|[A-Za-z0-9][A-Za-z0-9.\-]*(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?"
)
DATA_STORE = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/[^\x00-\x1f]*)?|(file://)?(?!.*://)[^\x00-\x1f]+")
HOST = re.compile(r"[A-Za-z0-9.\-]+|(?=.*:.*:)[0-9A-Fa-f:]+")  # two colons: `cafe:8500` has a port
POSSIBLE = dict.fromkeys(("accuracy", "macro_f1", "ece"), Between(0, 1)) | {
    "brier": Between(0, 2),
    "r2": Between(-math.inf, 1),
    **dict.fromkeys(("loss", "mae", "rmse"), Between(0, math.inf)),
}
"""What a metric can be: a threshold outside holds for every model, or for none."""
WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `kind` is str, int, float, bool or tuple (of texts)."""

    kind: Any
    choices: tuple[str, ...] = ()
    bounds: Between | None = None
    one_or_more: bool = False
    required: bool = False

    def read(self, value: Any) -> Any:
        """The value as the config holds it; raises ValueError that says what is wrong with it."""
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{value!r} is not one of {', '.join(map(repr, self.choices))}")
        elif self.kind is tuple:
            value = [value] if isinstance(value, str) and self.one_or_more else value
            if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
                raise ValueError(f"{value!r} is not a list of texts")
            return tuple(value)
        elif type(value) is not self.kind and (self.kind, type(value)) != (float, int):
            raise ValueError(f"{value!r} is not {WORDS[self.kind]}")
        if self.kind is float and math.isnan(value):
            raise ValueError(f"{value} is not a number")
        if self.bounds and not self.bounds.low <= value <= self.bounds.high:
            raise ValueError(f"{value} is not between {self.bounds.low:g} and {self.bounds.high:g}")
        return float(value) if self.kind is float else value


@functools.cache
def sections() -> Mapping[str, Any]:
    """Section → the dataclass that holds its settings."""
    hints = typing.get_type_hints(Config)
    return {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}


@functools.cache
def settings() -> Mapping[str, Setting]:
    """Name, e.g. `gate.threshold` → what its value must be."""
    hints = typing.get_type_hints(Config, include_extras=True)
    found = dict(_settings_of(Config, "", {}))
    for section, kind in sections().items():
        bounds, *_ = getattr(hints[section], "__metadata__", ({},))
        found |= dict(_settings_of(kind, f"{section}.", bounds))
    return found


def _settings_of(kind: Any, prefix: str, bounds: Mapping[str, Between]) -> Iterator[tuple[str, Setting]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        if prefix or field.name not in sections().keys() | NOT_SETTINGS:
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            setting = _setting(hints[field.name], required=required)
            if field.name in bounds:
                setting = dataclasses.replace(setting, bounds=bounds[field.name])
            yield prefix + field.name, setting


def _setting(hint: Any, *, required: bool) -> Setting:
    extras = getattr(hint, "__metadata__", ())
    hint = hint.__origin__ if extras else hint
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        hint, _ = typing.get_args(hint)  # `float | None`: a file cannot say None
    bounds = next((each for each in extras if isinstance(each, Between)), None)
    if typing.get_origin(hint) is typing.Literal:
        return Setting(str, typing.get_args(hint), required=required)
    return Setting(typing.get_origin(hint) or hint, (), bounds, ONE_OR_MORE in extras, required)


def unknown(name: str) -> str:
    """The problem of a name that no setting has, with the one that was probably meant."""
    section, _, key = name.rpartition(".")
    known = [each.rpartition(".")[2] for each in settings() if each.rpartition(".")[0] == section]
    near = difflib.get_close_matches(key, known if section else [*known, *sections()], 1)
    meant = f", did you mean {f'{section}.' if section else ''}{near[0]}?" if near and name not in RENAMED else ""
    return f"{name}: unknown setting{meant}"


def disagreements(config: Config) -> Iterator[str]:
    """What is wrong with values of the right type: names, URLs, and settings that exclude each other."""
    plain = config.model.replace("-", "").replace("_", "")
    if not plain.isalnum() or not config.model[:1].isalnum() or len(config.model) > 64:
        yield f"model: {config.model!r} may hold letters, digits, - and _ only, at most 64, and starts with a letter or a digit"
    yield from _repositories(config.repositories)
    yield from _registry(config.registry)
    if config.registry.url.startswith("s3://") and config.serving.deploy == "docker":
        yield 'serving.deploy: "docker" reads a registry in a folder only, and [registry] url is a bucket: set it to "process"'
    yield from _cache(config)
    yield from _gate(config.gate)
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
    yield from _approvers(config.approval)
    yield from _mail(config.mail)
    if config.mail.security == "none" and config.mail.host not in LOCAL:
        yield 'mail.security: "none" is for a server on this machine only'


def _registry(registry: Registry) -> Iterator[str]:
    if not registry.url.startswith("s3://"):
        for name in ("endpoint", "region", "profile", "sse", "kms_key", "storage_class"):
            if getattr(registry, name):
                yield f"registry.{name}: is for a registry in a bucket, and [registry] url is not s3://bucket/prefix"
        return
    for check, text in ((parse_url, registry.url), (check_endpoint, registry.endpoint)):
        try:
            check(text, "[registry]")
        except ConfigError as error:
            yield f"{error} ({error.hint})"
    if registry.kms_key and not registry.sse.startswith("aws:kms"):
        yield 'registry.kms_key: needs registry.sse = "aws:kms"'


def _cache(config: Config) -> Iterator[str]:
    url = config.cache.url
    if url and not url.startswith(("file://", "s3://")):
        yield f"cache.url: {url!r} begins neither with file:// nor with s3://"
    elif url.startswith("s3://"):
        try:
            parse_url(url, "[cache]")
        except ConfigError as error:
            yield f"{error} ({error.hint})"
    if url == config.registry.url:
        yield "cache.url: is the registry, which never deletes anything: name another folder, or another prefix"


def _gate(policy: Policy) -> Iterator[str]:
    if policy.metric not in DIRECTION:
        yield f"gate.metric: {policy.metric!r} is not one of {', '.join(DIRECTION)}"
    elif not (possible := POSSIBLE[policy.metric]).low <= policy.threshold <= possible.high:
        yield f"gate.threshold: {policy.threshold:g} is impossible for {policy.metric}, {_range(possible)}"


def _range(possible: Between) -> str:
    if math.isinf(possible.high):
        return f"which is never under {possible.low:g}"
    return f"which is {f'between {possible.low:g} and' if math.isfinite(possible.low) else 'at most'} {possible.high:g}"


def _mail(mail: Mail) -> Iterator[str]:
    for name, texts in (("to", mail.to), ("sender", (mail.sender,))):
        for each in texts:
            if not is_address(each):
                several = ', or several as a list: ["ada@…", "bo@…"]' if name == "to" else ""
                yield f'mail.{name}: {each!r:.200} is not a mail address; write "name@company.example", in ASCII{several}'
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


def _access(serving: Serving) -> Iterator[str]:
    if bool(serving.certfile) != bool(serving.keyfile):
        yield "serving.certfile and serving.keyfile: TLS needs both"
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
