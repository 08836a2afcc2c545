"""A running API, as a client sees it: samples go out as JSON or as image files, answers come back as they are."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from training.data.decode import format_of

TIMEOUT = 30.0
"""Seconds for one request."""
MANY = 256
"""Instances per request at most; fewer when the API allows fewer."""


class Api:
    """A running API: `api.url`, `api.get("/version")`, `api.post("/predict", json={"instances": [...]})`.

    `get` and `post` return a `requests.Response` whatever its status, so a test may check refusals, too.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy belongs between a client and a loopback port

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET `path`; `options` are those of requests.get."""
        return self._session.get(self.url + path, **{"timeout": self._timeout} | options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """POST to `path`; `options` are those of requests.post."""
        return self._session.post(self.url + path, **{"timeout": self._timeout} | options)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """What `GET /` says about the model: task, kind, inputs, classes, limits, …"""
        return dict(body_of(self.get("/")))

    def predict(self, sample: Any) -> Any:
        """The API's answer to one sample, or the list of answers to a list of samples.

        A sample is what the model takes: a numpy array, a dict of columns, or, for a model of images, the path of a
        PNG or JPEG file or its bytes. An array with one dimension more than a sample is a list of samples.
        Raises AssertionError with the API's own words when it refuses.
        """
        many = self._as_list(sample)
        return self._answers([sample])[0] if many is None else self._answers(many)

    def _as_list(self, sample: Any) -> Sequence[Any] | None:
        """The samples in it when there are many; None for one."""
        if isinstance(sample, (str, bytes, Path, Mapping)):
            return None
        if isinstance(sample, Sequence):
            return sample
        dimensions = len(self.description["inputs"][0]["shape"])
        return sample if len(sample.shape) > dimensions else None

    def _answers(self, samples: Sequence[Any]) -> list[Any]:
        """Images one by one, as they are; all others as JSON, in as few requests as the limits allow."""
        answers: list[Any] = []
        if len(samples) and all(isinstance(each, (str, bytes, Path)) for each in samples) and self._takes_images:
            for each in samples:
                data = each if isinstance(each, bytes) else Path(each).read_bytes()
                answers += predictions(self.post("/predict", data=data, headers={"Content-Type": _kind(data)}))
            return answers
        for body in self._bodies(samples):
            answers += predictions(self.post("/predict", data=body, headers={"Content-Type": "application/json"}))
        return answers

    @property
    def _takes_images(self) -> bool:
        return bool(self.description["kind"] == "image")

    def _bodies(self, samples: Sequence[Any]) -> Iterator[bytes]:
        limits = self.description["limits"]
        parts: list[str] = []
        space = limits["body_bytes"] // 2
        for each in samples:
            text = json.dumps(plain(each))
            if parts and (len(text) > space or len(parts) >= min(MANY, limits["instances"])):
                yield body(parts)
                space, parts = limits["body_bytes"] // 2, []
            parts.append(text)
            space -= len(text)
        if parts:
            yield body(parts)


def plain(sample: Any) -> Any:
    """A sample as JSON has it: lists instead of arrays, one value instead of an array of shape (1,) under a name."""
    if isinstance(sample, Mapping):
        return {str(name): _known(_scalar(plain(value))) for name, value in sample.items()}
    if hasattr(sample, "tolist"):
        return sample.tolist()
    if isinstance(sample, (list, tuple)):
        return [plain(each) for each in sample]
    return sample


def body(instances: Sequence[str]) -> bytes:
    """The body for `/predict` from instances that are JSON already."""
    return f'{{"instances": [{", ".join(instances)}]}}'.encode()


def body_of(response: requests.Response) -> Any:
    """The JSON of a good answer; raises AssertionError with status, error and hint of any other one."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if response.status_code == 200 and found is not None:
        return found
    refusal = found if isinstance(found, dict) else {"error": response.text[:200] or "an empty body"}
    hint = f" (hint: {refusal['hint']})" if refusal.get("hint") else ""
    raise AssertionError(f"the API answered {response.status_code}: {refusal.get('error', refusal)}{hint}")


def predictions(response: requests.Response) -> list[Any]:
    """The predictions in an answer of `/predict`; raises AssertionError."""
    found = body_of(response)
    listed = found.get("predictions") if isinstance(found, dict) else None
    if not listed:
        raise AssertionError(f'the API answered without "predictions": {found!r:.200}')
    return list(listed)


def _scalar(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], list) else value


def _known(value: Any) -> Any:
    """Null for a missing number: JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _kind(data: bytes) -> str:
    return f"image/{format_of(data) or 'jpeg'}"
