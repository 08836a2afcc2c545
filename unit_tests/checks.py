"""Trainyard's own checks of the staging instance, over HTTP: each is one case of the suite `api`, none stops the others."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from registry.records import Candidate, TensorSpec, TestCase, TestReport
from unit_tests.client import Api, body, body_of, plain, predictions
from unit_tests.golden import Golden
from unit_tests.job import API, AcceptJob
from unit_tests.malformed_requests import JSON, MalformedRequest, malformed_requests

POLL = 0.1  # seconds
READY, AGAIN = "becomes ready", 3
HANGS, LATE, PATIENCE = "answers in time", "no answer in time", 2
ODD = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What the checks raise when an answer has another form than the API's."""
Check = tuple[str, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Subject:
    """The version under test, and the API that runs it."""

    api: Api
    admin: Api
    """Its operator's port."""
    job: AcceptJob
    manifest: Candidate
    digest: str
    """SHA-256 of the manifest."""
    golden: Golden


def expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    """Raise AssertionError with `otherwise` unless it holds; unlike an assert statement also under `python -O`."""
    if not holds:
        raise AssertionError(otherwise)


def check_ready(subject: Subject) -> TestReport:
    """Wait until the API can answer; nothing else makes sense before."""
    return TestReport(API, (_run(READY, lambda: _await_ready(subject)),))


def check_api(subject: Subject) -> TestReport:
    """All other checks, as long as the API answers in time."""
    cases, late = [], 0
    for name, check in _checks(subject):
        case = _run(name, check)
        cases.append(case)
        late += case.message.startswith(LATE)
        if late == PATIENCE:
            cases.append(
                TestCase(HANGS, "error", message=f"{late} answers came too late; the remaining checks were not run")
            )
            break
    return TestReport(API, tuple(cases))


def _checks(subject: Subject) -> Iterator[Check]:
    golden, api = subject.golden, subject.api
    images = [golden.png(i) for i in range(len(golden))]
    yield "answers with this version", lambda: _version(subject)
    yield "describes the signature of the manifest", lambda: _signature(subject)
    yield "answers its own example", lambda: _example(api)
    yield "golden samples: JSON, one by one", lambda: _golden(golden, lambda i: _ask(api, [golden.sample(i)])[0])
    yield "golden samples: JSON, all at once", lambda: _golden_at_once(api, golden)
    if all(images):
        yield "golden samples: PNG", lambda: _golden(golden, lambda i: _send(api, images[i] or b""))
        yield "golden samples: PNG in a form", lambda: _golden(golden, lambda i: _upload(api, images[i] or b""))
    yield "the same sample, the same answer", lambda: _steady(api, golden)
    for each in malformed_requests(golden.signature, golden.sample(0), images[0]):
        yield f"refuses {each.error}", lambda each=each: _refused(api, each)  # type: ignore[misc]
    yield "refuses a body that is too large", lambda: _too_large(subject)
    yield "refuses GET /predict", lambda: _is_refusal(api.get("/predict"))
    yield "refuses an unknown page", lambda: _is_refusal(api.get("/no/such/page"))
    yield "still answers after all that", lambda: _golden(golden, lambda i: _ask(api, [golden.sample(i)])[0])


def _run(name: str, check: Callable[[], None]) -> TestCase:
    started = time.monotonic()
    try:
        check()
        message = ""
    except AssertionError as error:
        message = str(error) or "failed"
    except (requests.Timeout, TimeoutError):
        message = f"{LATE}, after {time.monotonic() - started:.1f} s"
    except (requests.RequestException, OSError, http.client.HTTPException) as error:
        message = f"the API did not answer: {type(error).__name__}: {error}"
    except ODD as error:
        message = f"the answer has an unknown form: {type(error).__name__}: {error}"
    return TestCase(name, "failed" if message else "passed", round(time.monotonic() - started, 3), message)


def _await_ready(subject: Subject) -> None:
    """Every process that the API lists is ready, and so is the one that answers, some times in a row."""
    until, said, in_a_row = time.monotonic() + subject.job.ready_seconds, "it does not listen", 0
    while in_a_row < AGAIN:
        try:
            said = _not_ready(subject)
        except requests.ConnectionError:
            said = "it does not listen"
        except requests.RequestException as error:
            said = f"{type(error).__name__}: {error}"
        in_a_row = 0 if said else in_a_row + 1
        if said and time.monotonic() > until:
            raise AssertionError(f"not ready after {subject.job.ready_seconds:g} s: {said}")
        time.sleep(POLL if said else 0)


def _not_ready(subject: Subject) -> str:
    """Why it is not ready yet; empty when it is. Raises AssertionError when waiting is in vain."""
    ready = subject.api.get("/health/ready", headers={"Connection": "close"}, timeout=5)
    status = subject.admin.get("/version", timeout=5).json()
    workers, expected = status.get("workers", []), status.get("expected", 1)
    if failed := next((each for each in workers if each.get("state") == "failed"), None):
        raise AssertionError(f"it cannot load this version: {failed.get('error')}")
    if ready.status_code != http.HTTPStatus.OK:
        return f"{ready.status_code}: {ready.text[:300]}"
    able = sum(each.get("state") == "ready" for each in workers)
    return f"{able} of {expected} processes are ready" if able < max(expected, len(workers)) else ""


def _version(subject: Subject) -> None:
    wanted = {"model": subject.manifest.model, "version": subject.manifest.version, "release": None}
    _says(body_of(subject.api.get("/version")), wanted)
    answer = body_of(subject.admin.get("/version"))
    _says(answer, wanted | {"card": subject.digest})
    for each in answer["workers"]:
        same = (each["version"], each["card"]) == (subject.manifest.version, subject.digest)
        expect(same, f"process {each['pid']} answers with version {each['version']}, manifest {each['card']!r}")


def _says(answer: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        expect(answer.get(name) == value, f"/version says {name} {answer.get(name)!r}, expected {value!r}")


def _signature(subject: Subject) -> None:
    answer, signature = subject.api.description, subject.manifest.signature
    simple: dict[str, object] = {"task": signature.task, "kind": signature.kind}
    simple |= {"classes": list(signature.classes), "targets": list(signature.targets)}
    for name, value in simple.items():
        expect(answer.get(name) == value, f"GET / says {name} {answer.get(name)!r}, the manifest {value!r}")
    inputs = [(each["name"], tuple(each["shape"]), each["dtype"]) for each in answer["inputs"]]
    wanted = [(each.name, _sample_shape(each), each.dtype) for each in signature.inputs]
    expect(inputs == wanted, f"GET / says inputs {inputs}, the manifest {wanted}")


def _sample_shape(spec: TensorSpec) -> tuple[int | None, ...]:
    """One value needs no list around it."""
    return () if spec.shape[1:] == (1,) else spec.shape[1:]


def _example(api: Api) -> None:
    example = api.get("/example")
    expect(example.ok, f"GET /example answered {example.status_code}")
    predictions(api.post("/predict", data=example.content, headers={"Content-Type": example.headers["Content-Type"]}))


def _ask(api: Api, samples: list[Any]) -> list[Any]:
    data = body([json.dumps(plain(each)) for each in samples])
    return predictions(api.post("/predict", data=data, headers={"Content-Type": JSON}))


def _send(api: Api, image: bytes) -> Any:
    return predictions(api.post("/predict", data=image, headers={"Content-Type": "image/png"}))[0]


def _upload(api: Api, image: bytes) -> Any:
    return predictions(api.post("/predict", files={"image": ("sample.png", image, "image/png")}))[0]


def _golden(golden: Golden, ask: Callable[[int], Any]) -> None:
    _no_differences(golden, [ask(i) for i in range(len(golden))])


def _golden_at_once(api: Api, golden: Golden) -> None:
    """In one request, or as many as its limits ask for."""
    answers = api.predict([golden.sample(i) for i in range(len(golden))])
    expect(len(answers) == len(golden), f"{len(answers)} answers to {len(golden)} samples")
    _no_differences(golden, answers)


def _no_differences(golden: Golden, answers: list[Any]) -> None:
    found = [f"sample {i}: {difference}" for i, each in enumerate(answers) if (difference := golden.differs(i, each))]
    more = f" (and {len(found) - 1} more of {len(answers)})" if len(found) > 1 else ""
    expect(not found, "".join(found[:1]) + more)


def _steady(api: Api, golden: Golden) -> None:
    first, *others = (_ask(api, [golden.sample(0)])[0] for _ in range(5))
    for other in others:
        expect(other == first, f"{first!r:.200}, then {other!r:.200}")


def _refused(api: Api, each: MalformedRequest) -> None:
    _is_refusal(api.post("/predict", data=each.body, headers={"Content-Type": each.kind} | each.headers))


def _is_refusal(response: requests.Response) -> None:
    """4xx, as JSON that says what is wrong, without a stack trace."""
    _check_refusal(response.status_code, response.headers.get("Content-Type", ""), response.content)


def _check_refusal(status: int, kind: str, content: bytes) -> None:
    text = content[:300].decode(errors="replace")
    expect(400 <= status < 500, f"it answered {status}: {text}")
    expect(kind.partition(";")[0] == JSON, f"it answered {status} as {kind!r}: {text}")
    answer = json.loads(content)
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, str) or not error:
        raise AssertionError(f'there is no "error" in {text}')
    expect("Traceback" not in error, "a stack trace is shown to the client")


def _too_large(subject: Subject) -> None:
    """Announced, but not sent: a server that reads it all before it refuses would wait here until the time is up."""
    parts = urlsplit(subject.api.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=subject.job.answer_seconds)
    try:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", JSON)
        connection.putheader("Content-Length", str((subject.job.max_body_mb << 20) + 1))
        connection.endheaders()
        response = connection.getresponse()
        _check_refusal(response.status, response.headers.get("Content-Type", ""), response.read())
    finally:
        connection.close()
