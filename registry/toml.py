"""TOML as people's editors save it."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def parse(data: bytes) -> dict[str, Any]:
    """What a TOML file holds, with or without a byte order mark; raises ValueError that says what is wrong with it."""
    if data.startswith(UTF_16):
        raise ValueError("it is encoded as UTF-16; save it as UTF-8, as TOML demands")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8, as TOML demands") from None


def read(path: Path) -> dict[str, Any]:
    """`parse` of a file; raises OSError as well."""
    return parse(path.read_bytes())
