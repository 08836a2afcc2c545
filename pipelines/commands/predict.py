"""`trainyard predict MODEL FILE…`: ask the prediction API with files, as any client would."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.commands.promote import check_model
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.deploy import open_deployment
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry.errors import ConfigError, TryAgain

TYPES = {
    ".json": "application/json",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
    ".npy": "application/x-npy",
}
SECONDS = 60.0
MAX_ANSWER = 64 << 20  # bytes
SHOWN = 4
"""Probabilities in a line for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", help="the model of trainyard.toml")
    kinds = ", ".join(TYPES)
    parser.add_argument("files", nargs="+", metavar="FILE", help=f"{kinds}; -: JSON from standard input")
    parser.add_argument("--url", help="of the API; default: the one that runs here, or [serving] url")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print a line per prediction, or with --json the API's answers, one per line."""
    check_model(args.model, config)
    bodies = [(name, *_body(name)) for name in args.files]  # all are read before the first is sent
    url = _url(args, config)
    for name, body, kind in bodies:
        answer = _ask(f"{url}/predict", body, kind, name)
        if args.json:
            print(json.dumps({"file": name} | answer, ensure_ascii=False))
            continue
        for i, each in enumerate(answer["predictions"]):
            place = name if len(answer["predictions"]) == 1 else f"{name} [{i}]"
            print(f"{clean(place)}  {clean(line(each))}")
    return 0


def line(prediction: dict[str, Any]) -> str:
    """One prediction for people: the class with its probability, the labels with theirs, or the numbers."""
    if "labels" in prediction:
        shares = sorted(prediction["probabilities"].items(), key=lambda each: -each[1])
        others = ", ".join(f"{name} {share:.1%}" for name, share in shares[:SHOWN])
        return f"{', '.join(prediction['labels']) or 'no label'}  ({others})"
    if "anomalous" in prediction:
        what = "anomalous" if prediction["anomalous"] else "usual"
        return f"{what} (score {prediction['score']:.4g}, threshold {prediction['threshold']:.4g})"
    if "class" in prediction and "probability" in prediction:
        shares = sorted(prediction["probabilities"].items(), key=lambda each: -each[1])[1:SHOWN]
        others = ", ".join(f"{name} {share:.1%}" for name, share in shares)
        return f"{prediction['class']}  {prediction['probability']:.1%}" + (f"  ({others})" if others else "")
    if "class" in prediction:
        return f"{prediction['class']}  scores {json.dumps(prediction['scores'], ensure_ascii=False)}"
    found = prediction.get("value", prediction.get("values", prediction))
    return json.dumps(found, ensure_ascii=False)


def _body(name: str) -> tuple[bytes, str]:
    if name == "-":
        return sys.stdin.buffer.read(), TYPES[".json"]
    path = Path(name)
    if path.suffix.lower() not in TYPES:
        raise ConfigError(
            f"{name}: the API does not take such files", hint=f"it takes {', '.join(TYPES)}, or - for JSON"
        )
    try:
        return path.read_bytes(), TYPES[path.suffix.lower()]
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}", hint="name a file that can be read") from None


def _url(args: argparse.Namespace, config: Config) -> str:
    if given := args.url:
        if urlsplit(given).scheme not in {"http", "https"} or not urlsplit(given).netloc:
            raise ConfigError(f"--url {given}: is not an address", hint="such as http://127.0.0.1:8500")
        return str(given).rstrip("/")
    if url := open_deployment(config).running():
        return url.rstrip("/")
    from pipelines.commands.serve import live_release  # only where nothing runs

    live_release(open_registry(config, only_look=True), args.model)  # else there is nothing to start
    raise TryAgain(
        f"no API of {args.model} runs here",
        hint=f"`trainyard serve {args.model} --background` starts it; --url names one elsewhere",
    )


def _ask(url: str, body: bytes, kind: str, name: str) -> dict[str, Any]:
    """The API's answer; raises ConfigError for what it refuses, TryAgain when there is no answer now."""
    import requests

    from pipelines.exports.http import Bearer

    token = secret("API_TOKEN")
    try:
        response = requests.post(
            url,
            data=body,
            headers={"Content-Type": kind, "Accept": "application/json"},
            auth=Bearer(token) if token else None,
            timeout=SECONDS,
            allow_redirects=False,
        )
        answer = response.json()
    except requests.exceptions.JSONDecodeError:
        raise ConfigError(
            f"{url}: status {response.status_code} without JSON", hint="is it an API of Trainyard?"
        ) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.SSLError, ValueError) as error:
        raise ConfigError(f"{url}: {clean(str(error))[:200]}", hint="check the address and its certificate") from None
    except requests.RequestException as error:
        raise TryAgain(
            f"{url}: {type(error).__name__}", hint="see whether the API runs: `trainyard serve … --status`"
        ) from None
    if response.status_code == 200 and isinstance(answer, dict) and isinstance(answer.get("predictions"), list):
        return answer
    text = answer.get("error", "") if isinstance(answer, dict) else ""
    message = f"{name}: {clean(str(text or f'status {response.status_code}'))[:500]}"
    hint = clean(str(answer.get("hint") or ""))[:500] if isinstance(answer, dict) else ""
    if response.status_code == 401 and not token:
        hint = "put a token (`trainyard token make`) into TRAINYARD_API_TOKEN"
    if response.status_code in {429, 500, 502, 503, 504}:
        raise TryAgain(message, hint=hint)
    raise ConfigError(message, hint=hint)
