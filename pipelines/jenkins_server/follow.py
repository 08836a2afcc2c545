"""A job of Jenkins from its start to its result: queue item → build → console → the exit code of what ran in it.

The queue item that Jenkins names in its answer is the only thing that says which build is ours. Jenkins forgets it five
minutes after it has left the queue, and at a restart; then the build is found by the number of the item.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pipelines.config.schema import Config
from pipelines.jenkins_server.client import JenkinsClient, NotThere, job_path
from pipelines.jenkins_server.console import Console
from pipelines.jenkins_server.plan import folder_of
from pipelines.text.clean import clean
from registry.errors import ConfigError, TryAgain

LOOK_SECONDS = 2.0  # between two looks
SILENT_SECONDS = 900.0
"""For how long a Jenkins that has answered may answer nothing: it restarts, and a large one takes minutes."""
GRACE_LOOKS = 5
"""A build may be listed a moment after its queue item is gone."""
NO = 3
AGAIN = 75
EXIT_CODES = {"SUCCESS": 0, "UNSTABLE": NO, "ABORTED": AGAIN, "NOT_BUILT": AGAIN}
CHANGING = re.compile(r"\d.*|\(ETA.*", re.DOTALL)
"""What of a reason to wait is another one at each look: remaining seconds, numbers of builds."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Queued:
    """A build that was asked for, and waits to begin."""

    job: str
    """`job/digits/job/code`, as client.job_path gives it."""
    item: int
    url: str
    joined: bool
    """One that waited already, with the same parameters, stands for this one."""


@dataclass(frozen=True, slots=True)
class Build:
    """A build that has ended. `exit_code` is that of the pipeline which ran in it."""

    job: str
    number: int
    url: str
    result: str
    """SUCCESS, UNSTABLE, FAILURE, ABORTED or NOT_BUILT."""
    description: str
    exit_code: int


def ask_for(client: JenkinsClient, job: str, parameters: Mapping[str, str]) -> Queued:
    """Start the job, at once instead of after its quiet period; raises ConfigError when Jenkins does not take it.

    The parameters stand in the request's body: an address is written into logs. What the job does not declare is
    dropped by Jenkins without a word.
    """
    answer = client.post(f"{job}/buildWithParameters", {**parameters, "delay": "0sec"})
    place = answer.headers.get("Location", "")
    found = re.search(r"/queue/item/(\d+)/?$", place)
    if not found:
        raise ConfigError(
            f"Jenkins has not taken a build of {client.url}{job} (it answers {answer.status}, {clean(place, 200)!r})",
            hint="is it about to shut down, or does something before it want a login?",
        )
    item = int(found[1])
    return Queued(job, item, f"{client.url}queue/item/{item}/", answer.status == 303)


def path_of(config: Config, name: str) -> str:
    """Where the model's job `name` is."""
    return job_path(folder_of(config), name)


class Follower:
    """Follows one build for at most `seconds`, and tells what happens, and the console, line by line.

    `client` must have no patience of its own: who waits for a Jenkins that restarts must tell that it waits.
    """

    def __init__(self, client: JenkinsClient, seconds: float, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say
        self._seconds = seconds
        self._deadline = client.clock() + seconds
        self._waits: set[str] = set()
        self.where = ""
        """The page of the build, or of the queue item as long as there is no build."""

    def follow(self, queued: Queued) -> Build:
        """Wait for the build's end. Raises TryAgain when it was cancelled before it began, when the time is over, and
        when Jenkins answers nothing for too long; the build goes on in the last two cases."""
        self.where = queued.url
        number = self.await_build(queued)
        path = f"{queued.job}/{number}"
        self.where = f"{self._client.url}{path}/"
        self._say(f"Jenkins: build {number} has begun: {self.where}")
        console = Console(self._say)
        state = self._stream(path, console)
        result, description = str(state["result"]), str(state.get("description") or "")
        return Build(queued.job, number, self.where, result, description, _exit_code(result, console.exit_code))

    def await_build(self, queued: Queued) -> int:
        """The number of the build, once it has one."""
        missed = 0
        while True:
            number, gone = self._look(queued)
            if number:
                return number
            missed = missed + 1 if gone else 0
            if missed >= GRACE_LOOKS:
                raise TryAgain(
                    f"Jenkins has forgotten queue item {queued.item}, and none of the newest builds of the job came from it",
                    hint=f"somebody may have cancelled it; look at {self._client.url}{queued.job}/, or start it again",
                )
            self._wait()

    def _look(self, queued: Queued) -> tuple[int, bool]:
        """The build's number, else 0; and whether Jenkins knows nothing of the queue item any more."""
        try:
            item = self._ask(partial(self._client.get, f"queue/item/{queued.item}/api/json"))
        except NotThere:
            return self._by_item(queued), True
        if item.get("cancelled"):
            raise TryAgain(
                f"somebody has cancelled {queued.url} before it began: nothing was done",
                hint="the same command asks for it again",
            )
        if begun := item.get("executable"):
            return int(begun["number"]), False
        if why := clean(str(item.get("why") or ""), 300):
            self._once(why)
        return 0, False

    def _once(self, why: str) -> None:
        key = CHANGING.sub("", why)
        if key not in self._waits:
            self._waits.add(key)
            self._say(f"Jenkins: waiting: {why}")

    def _by_item(self, queued: Queued) -> int:
        found = self._ask(partial(self._client.get, f"{queued.job}/api/json", "builds[number,queueId]{0,100}"))
        return next((int(each["number"]) for each in found.get("builds", ()) if each["queueId"] == queued.item), 0)

    def _stream(self, path: str, console: Console) -> dict[str, Any]:
        """Show the console until the build has ended; its last state."""
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
                    continue  # once more: what was written between our two questions
            self._wait()

    def _ask(self, call: Callable[[], T]) -> T:
        """The answer, be it after a restart of Jenkins."""
        silent: float | None = None
        while True:
            try:
                answer = call()
            except TryAgain as error:
                now = self._client.clock()
                if silent is None:
                    silent = now
                    self._say(f"{error}; waiting for it, the build goes on where it was")
                if now - silent > SILENT_SECONDS:
                    raise TryAgain(f"{error}, for {SILENT_SECONDS / 60:.0f} minutes", hint=self._later()) from None
                self._wait()
                continue
            if silent is not None:
                self._say("Jenkins answers again")
            return answer

    def _wait(self) -> None:
        if self._client.clock() >= self._deadline:
            raise TryAgain(f"not at its end after {self._seconds / 60:g} minutes", hint=self._later())
        self._client.pause(LOOK_SECONDS)

    def _later(self) -> str:
        return f"Jenkins goes on with it; look at {self.where}"


def _exit_code(result: str, told: int | None) -> int:
    """A failed build may tell which code its step has ended with; it cannot tell that all is well, or a no."""
    if result in EXIT_CODES:
        return EXIT_CODES[result]
    return told if told and told != NO and told < 256 else 2
