"""How the API is to be started, by the config, and in which image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from pipelines.trust import first_key, store_options
from registry import candidates
from registry.label_store import label_file
from registry.records import Release, Served
from registry.store_options import StoreOptions
from registry.stores import Store
from serving.access.tokens import FILE
from serving.job import PredictionLogJob, ServeJob

LOOPBACK = "127.0.0.1"


def serve_job(config: Config) -> ServeJob:
    """What the API needs to know: its part of the config."""
    serving, is_bucket = config.serving, config.registry.url.startswith("s3://")
    return ServeJob(
        model=config.model,
        registry=config.registry.url,
        store=store_options(config.registry, Path(config.home)) if is_bucket else StoreOptions(),
        mirror=str(mirror_folder(config)) if is_bucket else "",
        poll_seconds=serving.poll_seconds,
        first_key=first_key(config),
        host=serving.host,
        port=serving.port,
        admin_host=serving.admin_host,
        admin_port=serving.admin_port,
        grpc_port=serving.grpc_port,
        auth=serving.auth,
        tokens=str(token_file(config)) if serving.auth == "tokens" else "",
        open=serving.open,
        certfile=serving.certfile,
        keyfile=serving.keyfile,
        allowed_hosts=serving.allowed_hosts,
        cors_origins=serving.cors_origins,
        requests_per_second=serving.requests_per_second,
        workers=serving.workers,
        threads=serving.threads,
        trusted_proxies=serving.trusted_proxies,
        max_body_mb=serving.max_body_mb,
        max_instances=serving.max_instances,
        batch_ms=serving.batch_ms,
        explain_ms=serving.explain_ms,
        earlier_versions=serving.earlier_versions,
        log_mb=serving.log_mb,
        log_files=serving.log_files,
        traces=serving.traces,
        timeout_seconds=serving.timeout_seconds,
        max_connections=serving.max_connections,
        max_connections_per_address=serving.max_connections_per_address,
        prediction_log=log_job(config) if config.prediction_log.enabled else None,
        labels=str(label_file(Path(config.home).absolute(), config.model)) if config.prediction_log.enabled else "",
    )


def log_job(config: Config) -> PredictionLogJob:
    """The prediction log of this model, whether or not the API writes it now."""
    log = config.prediction_log
    return PredictionLogJob(
        folder=str(log_folder(config)),
        key=str(log_key(config)),
        fraction=log.fraction,
        columns=dict(log.columns),
        images=log.images,
        keep_days=log.keep_days,
        max_mb=log.max_mb,
        sent=log.sink == "http",
    )


def staging_job(config: Config) -> ServeJob:
    """As `serve_job`, for the acceptance test of a version: the settings that can change how it answers, and only its
    tests reach it."""
    return replace(
        serve_job(config),
        registry="",
        store=StoreOptions(),
        mirror="",
        first_key="",
        folder="inputs/version",
        host=LOOPBACK,
        admin_host=LOOPBACK,
        grpc_port=0,
        auth="none",
        tokens="",
        certfile="",
        keyfile="",
        allowed_hosts=(),
        cors_origins=(),
        requests_per_second=0.0,
        traces="",
        prediction_log=None,
        labels="",
    )


def token_file(config: Config) -> Path:
    """Where the tokens of this model's API are: in a folder of their own, which a container can be given, and not in the
    API's, to which it may write: a model that takes the API over adds no tokens."""
    return Path(config.home) / "access" / config.model / FILE


def log_folder(config: Config) -> Path:
    """Where the prediction log of this model is."""
    return Path(config.home).absolute() / "predictions" / config.model


def log_key(config: Config) -> Path:
    """The secret with which the prediction logs of this installation hash: in a folder of its own, as the tokens are."""
    return Path(config.home).absolute() / "log_key" / "secret"


def mirror_folder(config: Config) -> Path:
    """Where the local copy of a registry in a bucket is that this model's API reads: it cannot write there."""
    return Path(config.home).absolute() / "mirrors" / config.model


def image_for(served: Served) -> ImageKind:
    """The smallest image that has the engine of a version: that of the API has LiteRT only, and is small by it."""
    return "serve" if served.engine == "litert" else "train"


def image_of(store: Store, release: Release) -> ImageKind:
    """As `image_for`, of a release that is in production."""
    if release.version is None:
        return "serve"
    return image_for(candidates.manifest(store, release.model, release.version, "production").served)
