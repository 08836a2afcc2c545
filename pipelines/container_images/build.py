"""One build on the engine: its lines while it runs, and what its failure means."""

from __future__ import annotations

import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.container_images.pip_errors import pip_error
from pipelines.docker_engine import engine_errors, explain
from registry.dataclass import dataclass
from registry.errors import PipelineError, TryAgain

if TYPE_CHECKING:
    from docker import DockerClient

OnLine = Callable[[str], None]
KEPT = 40  # lines of output that are looked at when a build has failed
NOISE = re.compile(r" ---> |Removing intermediate container|\[notice\]|WARNING: Running pip as")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the engine shows what goes to stderr in red
STEP = re.compile(r"Step \d+/\d+ : ")


@dataclass(frozen=True, slots=True)
class Build:
    """What the engine is asked to build."""

    what: str
    """For messages, e.g. `trainyard-train`."""
    context: bytes
    args: Mapping[str, str]
    labels: Mapping[str, str]


def run_build(engine: DockerClient, build: Build, on_line: OnLine) -> str:
    """Build to the end; returns the ID of the image, which has no name yet.

    Lines of output go to `on_line`. Raises TryAgain for an error of the network or the engine, ConfigError with the
    last lines of output for any other failure. An exception in the caller ends the build.
    """
    import urllib3

    last: deque[str] = deque(maxlen=KEPT)
    image = ""
    try:
        with engine_errors(build.what):
            answers = engine.api.build(
                fileobj=io.BytesIO(build.context),
                custom_context=True,
                buildargs=dict(build.args),
                labels=dict(build.labels),
                rm=True,
                forcerm=True,
                decode=True,
                timeout=None,  # a step may be silent for minutes
            )
            for answer in answers:
                if "error" in answer:
                    raise failure(build.what, str(answer["error"]), "\n".join(last))
                image = answer.get("aux", {}).get("ID", image)
                for line in _lines(answer):
                    if not STEP.match(line):
                        last.append(line)
                    on_line(line)
    except urllib3.exceptions.HTTPError as error:
        raise _ended(build.what) from error
    if not image:
        raise _ended(build.what)
    return image


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for line in COLOUR.sub("", str(answer.get("stream", ""))).splitlines():
        if line.strip() and not NOISE.search(line):
            yield line.rstrip()


def failure(what: str, error: str, output: str) -> PipelineError:
    """What a failed build means to a person; `error` is what the engine says, `output` the last lines of the step that failed."""
    if "no space left on device" in f"{error}\n{output}".lower():
        return explain(what, 500, "no space left on device")
    if "returned a non-zero code" not in error:
        return explain(what, 400, error)
    return pip_error(
        what,
        output,
        certificate="a proxy with a certificate of its own? Put that into docker/certs/, or `trainyard images build --ca FILE`",
        versions="versions must go together with those of the image, and each package needs a wheel",
    )


def _ended(what: str) -> TryAgain:
    return TryAgain(f"{what}: the engine ended the build without an image", hint="see its log: journalctl -u docker")
