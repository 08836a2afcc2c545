"""The paths that are counted apart, by their templates, and the protocol of each: one bounded table.

A dialect's `Route.name` is one of these (a test holds it); what is not is counted as OTHER, so that no client makes series.
"""

from __future__ import annotations

OTHER = "other"
NO_PROTOCOL = "none"
"""Of pages, and of paths that do not exist."""

GRPC_SERVICE = "inference.GRPCInferenceService"
GRPC_HEALTH = "/grpc.health.v1.Health/Check"
_V1 = "/v1/models/{model}"
_V2 = "/v2/models/{model}"
_PATHS = {
    NO_PROTOCOL: ("/", "/example", "/version", "/health/live", "/health/ready", "/openapi.json", "/docs"),
    "instances": ("/predict",),
    "v2": (
        "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/repository/index",
        "/v2/repository/models/{model}/load", "/v2/repository/models/{model}/unload",
        *(f"{_V2}{which}{end}" for which in ("", "/versions/{version}") for end in ("", "/ready", "/infer", "/config", "/stats")),
    ),
    "v1": (
        "/v1/models",
        *(
            f"{_V1}{which}{end}"
            for which in ("", "/versions/{version}", "/labels/{label}")
            for end in ("", "/metadata", ":predict", ":classify", ":regress")
        ),
    ),
    "explain": ("/explain", f"{_V1}:explain", f"{_V1}/versions/{{version}}:explain", f"{_V1}/labels/{{label}}:explain"),
    "mlflow": ("/invocations", "/ping", "/health", "/mlflow/version"),
    "grpc": (
        GRPC_HEALTH,
        *(
            f"/{GRPC_SERVICE}/{method}"
            for method in (
                "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "RepositoryIndex",
                "RepositoryModelLoad", "RepositoryModelUnload",
            )
        ),
    ),
    "feedback": ("/feedback",),
}  # fmt: skip

PROTOCOLS = tuple(_PATHS)
PROTOCOL_OF = {path: protocol for protocol, paths in _PATHS.items() for path in paths} | {OTHER: NO_PROTOCOL}
ROUTES = tuple(PROTOCOL_OF)
"""Every template, OTHER last."""

PREDICTING = frozenset(
    each
    for each in ROUTES
    if each in {"/predict", "/invocations"}
    or each.endswith(("/infer", ":predict", ":classify", ":regress", "/ModelInfer"))
)
"""Those that are answered with predictions: what the prediction log keeps."""


def protocol_of(route: str) -> str:
    """The protocol that speaks at a route; NO_PROTOCOL for what is not in the table."""
    return PROTOCOL_OF.get(route, NO_PROTOCOL)
