"""What Prometheus needs to watch an API: where it asks, rules that record, and rules that alert.

    prometheus.yml           scrapes the operators' port; to be merged into one that exists
    trainyard.rules.yml      records rates, ratios and quantiles, and the names that Triton's and KServe's dashboards read
    trainyard.alerts.yml     alerts, with `severity` page or ticket

The rules are the same for all models; `prometheus.yml` has this one's port.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.config.schema import Serving
from registry.errors import ConfigError
from serving.access.exposure import is_loopback

GIVEN = Path(__file__).parent / "given"
RULES, ALERTS = "trainyard.rules.yml", "trainyard.alerts.yml"
TOKEN_FILE = "trainyard.token"  # noqa: S105  (the name of a file)
EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104  (addresses that nobody can ask)


def files(serving: Serving, model: str) -> dict[str, bytes]:
    """Name → bytes. Raises ConfigError when Prometheus could not know where to ask."""
    rules = {name: (GIVEN / name).read_bytes() for name in (RULES, ALERTS)}
    return {"prometheus.yml": _config(serving, model).encode()} | rules


def _config(serving: Serving, model: str) -> str:
    if not serving.admin_port:
        raise ConfigError(
            "[serving] admin_port is 0: the operators' port is another one at each start, and Prometheus cannot know it",
            hint="set [serving] admin_port to a free port, e.g. 8501, and start the API again",
        )
    host = "127.0.0.1" if serving.admin_host in EVERYWHERE else serving.admin_host
    target = f"[{host}]:{serving.admin_port}" if ":" in host else f"{host}:{serving.admin_port}"
    lines = [
        f"# Watches the API of {model}. Start: prometheus --config.file=prometheus.yml --enable-feature=exemplar-storage",
        "global:",
        "  scrape_interval: 15s",
        "  evaluation_interval: 15s",
        f"rule_files: [{RULES}, {ALERTS}]",
        "# alerting:",
        "#   alertmanagers:",
        '#     - static_configs: [{targets: ["127.0.0.1:9093"]}]',
        "scrape_configs:",
        "  - job_name: trainyard # the alerts know the APIs by this name: add the targets of other models here",
        "    scrape_timeout: 5s",
        *_access(serving),
        "    static_configs:",
        f'      - targets: ["{target}"]',
    ]
    return "\n".join([*lines, ""])


def _access(serving: Serving) -> list[str]:
    """Beyond the loopback interface the port may need TLS and a token."""
    if is_loopback(serving.admin_host):
        return []
    scheme = ["    scheme: https"] if serving.certfile else []
    needed = "    authorization: {credentials_file: %s} # of `trainyard token make prometheus --role operate`"
    return scheme + ([needed % TOKEN_FILE] if serving.auth == "tokens" else [])
