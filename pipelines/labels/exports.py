"""`trainyard labels export`: the store into a CSV or JSON Lines file, in the form that `import` takes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from pipelines.labels.files import COLUMNS
from registry.errors import ConfigError
from registry.files import new_file
from registry.label_store import LabelStore
from registry.records.labels import Label

KINDS = (".csv", ".jsonl")


def export_labels(store_file: Path, target: Path, *, history: bool = False, since: str = "") -> int:
    """Write the labels that hold, or all (`history`); how many. `since`: of rows that were labelled at this time (UTC) or later.

    The file is whole or absent. Raises ConfigError, Corrupt, TryAgain.
    """
    if target.suffix not in KINDS:
        raise ConfigError(f"--to: {str(target)!r}", hint=f"name a file that ends in {' or '.join(KINDS)}")
    store = LabelStore.existing(store_file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fd, tmp = new_file(target.parent)
    except OSError as error:
        raise ConfigError(f"{target}: {error.strerror}", hint="name a file that can be written") from None
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            count = 0
            if store:
                with store:
                    count = _write(
                        file, store.all() if history else store.newest(since=since), as_csv=target.suffix == ".csv"
                    )
            elif target.suffix == ".csv":
                _write(file, (), as_csv=True)
            file.flush()
            os.fchmod(fd, 0o644)
            os.replace(tmp, target)
    finally:
        Path(tmp).unlink(missing_ok=True)
    return count


def _write(file: IO[str], labels: Iterable[Label], *, as_csv: bool) -> int:
    count = 0
    writer = csv.writer(file, lineterminator="\n")
    if as_csv:
        writer.writerow(COLUMNS)
    for each in labels:
        cells = (each.request, each.row, each.value or None, each.correct, each.at, each.by, each.sure, each.source)
        said = dict(zip(COLUMNS, cells, strict=True))
        if as_csv:
            writer.writerow(
                ["" if cell is None else str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
            )
        else:
            file.write(
                json.dumps({name: cell for name, cell in said.items() if cell is not None}, ensure_ascii=False) + "\n"
            )
        count += 1
    return count
