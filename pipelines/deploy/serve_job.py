"""How the API is to be started, by the config, and in which image."""

from __future__ import annotations

from pipelines.config.schema import Config
from pipelines.container_images import ImageKind
from registry import candidates
from registry.records import Release, Served
from registry.stores import Store
from serving.job import ServeJob


def serve_job(config: Config) -> ServeJob:
    """What the API needs to know: its part of the config."""
    serving = config.serving
    return ServeJob(
        model=config.model,
        registry=config.registry.url,
        host=serving.host,
        port=serving.port,
        admin_host=serving.admin_host,
        admin_port=serving.admin_port,
        workers=serving.workers,
        threads=serving.threads,
        trusted_proxies=serving.trusted_proxies,
        max_body_mb=serving.max_body_mb,
        max_instances=serving.max_instances,
        timeout_seconds=serving.timeout_seconds,
    )


def image_for(served: Served) -> ImageKind:
    """The smallest image that has the engine of a version: a SavedModel needs TensorFlow."""
    return "serve" if served.engine == "litert" else "train"


def image_of(store: Store, release: Release) -> ImageKind:
    """As `image_for`, of a release that is in production."""
    if release.version is None:
        return "serve"
    return image_for(candidates.manifest(store, release.model, release.version, "production").served)
