"""Start a build of a Jenkins job and follow it: queue item → build → console → exit code of the pipeline.

Only the queue item that Jenkins names in its answer identifies the build. Jenkins forgets it five minutes after it has
left the queue, and at a restart; then the build is found by the number of the item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from pipelines.config.schema import Config
from pipelines.jenkins_server.client import JenkinsClient, NotFound, job_path
from pipelines.jenkins_server.console import Console
from pipelines.jenkins_server.jobs import folder_of
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError, TryAgain

POLL_SECONDS = 2.0
SILENT_SECONDS = 900.0
"""For how long a Jenkins that has answered may be silent: the restart of a large one takes minutes."""
GRACE_POLLS = 5
"""A build may be listed a moment after its queue item is gone."""
REJECTED = 3
TRY_AGAIN = 75
EXIT_CODES = {"SUCCESS": 0, "UNSTABLE": REJECTED, "ABORTED": TRY_AGAIN, "NOT_BUILT": TRY_AGAIN}
VARIABLE = re.compile(r"\d.*|\(ETA.*", re.DOTALL)
"""The part of a reason to wait that differs at each poll: remaining seconds, build numbers."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Queued:
    """A build that waits in the queue."""

    job: str
    """`job/digits/job/code`, as client.job_path gives it."""
    item: int
    url: str
    joined: bool
    """Jenkins has merged it with one that waited already with the same parameters."""


@dataclass(frozen=True, slots=True)
class FinishedBuild:
    """A build that has ended. `exit_code` is that of the pipeline in it."""

    job: str
    number: int
    url: str
    result: str
    """SUCCESS, UNSTABLE, FAILURE, ABORTED or NOT_BUILT."""
    description: str
    exit_code: int


def start_build(client: JenkinsClient, job: str, parameters: Mapping[str, str]) -> Queued:
    """Start the Jenkins job, without its quiet period; raises ConfigError when Jenkins does not accept it.

    The parameters go into the request's body: URLs are logged. Jenkins silently drops parameters that the job does not
    declare.
    """
    answer = client.post(f"{job}/buildWithParameters", {**parameters, "delay": "0sec"})
    location = answer.headers.get("Location", "")
    found = re.search(r"/queue/item/(\d+)/?$", location)
    if not found:
        raise ConfigError(
            f"Jenkins did not queue a build of {client.url}{job} (it answers {answer.status}, {clean(location, 200)!r})",
            hint="is it about to shut down, or does a proxy in front of it ask for a login?",
        )
    item = int(found[1])
    return Queued(job, item, f"{client.url}queue/item/{item}/", answer.status == 303)


def model_job_path(config: Config, name: str) -> str:
    """The path of the model's Jenkins job `name`."""
    return job_path(folder_of(config), name)


class BuildFollower:
    """Follows one build for at most `seconds`; `say` gets each event and each line of the console.

    `client` must have no patience of its own: waiting for a restart of Jenkins is reported here.
    """

    def __init__(self, client: JenkinsClient, seconds: float, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self._seconds = seconds
        self._deadline = client.clock() + seconds
        self._waits: set[str] = set()
        self.where = ""
        """The page of the build, or of the queue item as long as there is no build."""

    def follow(self, queued: Queued) -> FinishedBuild:
        """Wait for the build's end. Raises TryAgain when it was cancelled before it began, when the time is over, and
        when Jenkins is silent for too long; the build continues in the last two cases."""
        self.where = queued.url
        number = self._await_build(queued)
        path = f"{queued.job}/{number}"
        self.where = f"{self._client.url}{path}/"
        self._say(f"Jenkins: build {number} has started: {self.where}")
        console = Console(self._say)
        state = self._stream(path, console)
        result, description = str(state["result"]), str(state.get("description") or "")
        return FinishedBuild(queued.job, number, self.where, result, description, _exit_code(result, console.exit_code))

    def _await_build(self, queued: Queued) -> int:
        """The number of the build, once it has one."""
        missed = 0
        while True:
            number, gone = self._poll_queue(queued)
            if number:
                return number
            missed = missed + 1 if gone else 0
            if missed >= GRACE_POLLS:
                raise TryAgain(
                    f"Jenkins has forgotten queue item {queued.item}, and it is not the origin of any recent build of the job",
                    hint=f"it may have been cancelled: check {self._client.url}{queued.job}/, then retry",
                )
            self._wait()

    def _poll_queue(self, queued: Queued) -> tuple[int, bool]:
        """The build's number, else 0; and whether Jenkins has forgotten the queue item."""
        try:
            item = self._ask(partial(self._client.get, f"queue/item/{queued.item}/api/json"))
        except NotFound:
            return self._by_item(queued), True
        if item.get("cancelled"):
            raise TryAgain(
                f"{queued.url} was cancelled in the queue: nothing was done",
                hint="the same command queues it again",
            )
        if begun := item.get("executable"):
            return int(begun["number"]), False
        if why := clean(str(item.get("why") or ""), 300):
            self._say_once(why)
        return 0, False

    def _say_once(self, why: str) -> None:
        key = VARIABLE.sub("", why)
        if key not in self._waits:
            self._waits.add(key)
            self._say(f"Jenkins: waiting: {why}")

    def _by_item(self, queued: Queued) -> int:
        found = self._ask(partial(self._client.get, f"{queued.job}/api/json", "builds[number,queueId]{0,100}"))
        return next((int(each["number"]) for each in found.get("builds", ()) if each["queueId"] == queued.item), 0)

    def _stream(self, path: str, console: Console) -> dict[str, Any]:
        """Show the console until the build has ended; returns its last state."""
        at, ended = 0, False
        state: dict[str, Any] = {}
        while True:
            chunk = self._ask(partial(self._client.text, f"{path}/logText/progressiveText", at))
            console.feed(chunk.text)
            at = chunk.end
            if ended and not chunk.more:
                console.end()
                return state
            if not chunk.more:
                state = self._ask(partial(self._client.get, f"{path}/api/json", "building,result,description"))
                ended = not state["building"] and bool(state.get("result"))
                if ended:
                    continue  # once more: for lines written between the two requests
            self._wait()

    def _ask(self, call: Callable[[], T]) -> T:
        """The answer, even after a restart of Jenkins."""
        silent: float | None = None
        while True:
            try:
                answer = call()
            except TryAgain as error:
                now = self._client.clock()
                if silent is None:
                    silent = now
                    self._say(f"{error}; waiting for Jenkins, which resumes the build")
                if now - silent > SILENT_SECONDS:
                    raise TryAgain(f"{error}, for {SILENT_SECONDS / 60:.0f} minutes", hint=self._later()) from None
                self._wait()
                continue
            if silent is not None:
                self._say("Jenkins answers again")
            return answer

    def _wait(self) -> None:
        if self._client.clock() >= self._deadline:
            raise TryAgain(f"still running after {self._seconds / 60:g} minutes", hint=self._later())
        self._client.pause(POLL_SECONDS)

    def _later(self) -> str:
        return f"Jenkins continues the build: check {self.where}"


def _exit_code(result: str, printed: int | None) -> int:
    """The exit code of a build; only a failed one may refine it by the code in its console, and never to 0 or rejected."""
    if result in EXIT_CODES:
        return EXIT_CODES[result]
    return printed if printed and printed != REJECTED and printed < 256 else 2
