#!/usr/bin/env python3
"""Write the data of an example into a folder, ready to be committed: `write_data.py DESTINATION digits|penguins|pumps`.

Nothing is downloaded: two of the datasets are real and come with packages that Trainyard depends on, and one is made up:

digits    1,797 handwritten digits, 8×8 pixels, that scikit-learn ships (optdigits of the UCI repository).
          `--part first` are the first 1,080, light ink on dark paper as in the source. `--part rest` are the other 717,
          inverted, as a second scanner would deliver them: dark ink on light paper. A model that saw only the
          first part cannot read the second: more data is worth a retraining.
penguins  344 penguins of three species that palmerpenguins ships (CC0), one row each, with mixed columns.
          `--part first` are the seasons 2007 and 2008, `--part rest` is 2009.
pumps     readings of a pump that does not exist, one every ten minutes. Somebody has checked the newest 400 of each part, and
          one in ten of those is anomalous. `--part first` are 2,000 readings, `--part rest` are the next 1,000.

The same command always writes the same files; the parts share none. Nothing is ever overwritten.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from random import Random

HERE = Path(__file__).resolve().parent
FIRST_DIGITS = 1080
FIRST_SEASONS = ("2007", "2008")
PENGUIN_COLUMNS = (
    "penguin", "nest", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year",
    "species",
)  # fmt: skip
PUMP_COLUMNS = ("at", "flow", "pressure", "current", "temperature", "vibration", "anomalous")
CHECKED, STRAYS = 400, (400, 401, 900)
"""So many of the newest readings were looked at, and by chance a few of the older ones."""
PARTS = {"first": (True,), "rest": (False,), "all": (True, False)}


def package_folder(name: str) -> Path:
    """Where a package lies, without importing it: scikit-learn and palmerpenguins would load NumPy and pandas."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"write_data.py: the package {name} is not installed; run `make setup` and use .venv/bin/python")
    return Path(spec.submodule_search_locations[0])


def digits(*, first: bool) -> Iterator[tuple[str, bytes]]:
    """One part of the digits: name and PNG, in a folder for each class."""
    from PIL import Image

    source = package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(source, "rt", encoding="ascii", newline="") as file:
        rows = list(csv.reader(file))
    for number, (*pixels, label) in enumerate(rows):
        if (number < FIRST_DIGITS) is not first:
            continue
        grey = bytes(round(float(pixel) * 255 / 16) for pixel in pixels)  # the source counts ink from 0 to 16
        if not first:
            grey = bytes(255 - level for level in grey)
        png = io.BytesIO()
        Image.frombytes("L", (8, 8), grey).save(png, "PNG")
        yield f"pictures/{int(float(label))}/digit-{number:04d}.png", png.getvalue()


def penguins(*, first: bool) -> Iterator[tuple[str, bytes]]:
    """One part of the penguins: one CSV file; a value that was not measured is empty."""
    folder = package_folder("palmerpenguins") / "data"
    with (
        (folder / "penguins.csv").open(encoding="utf-8", newline="") as clean,
        (folder / "penguins-raw.csv").open(encoding="utf-8", newline="") as raw,
    ):
        rows = [penguin(*pair) for pair in zip(csv.DictReader(clean), csv.DictReader(raw), strict=True)]
    part = [row for row in rows if (row["year"] in FIRST_SEASONS) is first]
    text = io.StringIO()
    writer = csv.DictWriter(text, PENGUIN_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(part)
    yield f"seasons-{'-'.join(sorted({row['year'] for row in part}))}.csv", text.getvalue().encode()


def penguin(clean: dict[str, str], raw: dict[str, str]) -> dict[str, str]:
    """One row, with a name of its own and the nest it was found in, which the tidy table of the package leaves out."""
    row = {column: value for column, value in clean.items() if column in PENGUIN_COLUMNS}
    row = {column: "" if value == "NA" else value for column, value in row.items()}
    species = clean["species"].lower()
    row["penguin"] = f"{species}-{int(raw['Sample Number']):03d}"
    row["nest"] = f"{species}-{raw['Individual ID'].partition('A')[0]}"  # N21A1 and N21A2 are a pair in one nest
    return row


def pumps(*, first: bool) -> Iterator[tuple[str, bytes]]:
    """One part of the readings: one CSV file."""
    start, count, seed = (
        (datetime(2026, 10, 1, tzinfo=UTC), 2000, 1) if first else (datetime(2026, 10, 15, tzinfo=UTC), 1000, 2)
    )
    random, text = Random(seed), io.StringIO()
    writer = csv.DictWriter(text, PUMP_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for number in range(count):
        checked = number >= count - CHECKED or (first and number in STRAYS)
        wrong = random.choice(("dry", "blocked", "bearing")) if checked and number % 10 == 0 else ""
        at = start + timedelta(minutes=10 * number)
        marked = ("1" if wrong else "0") if checked else ""
        writer.writerow({"at": f"{at:%Y-%m-%dT%H:%M}", **reading(random, wrong), "anomalous": marked})
    yield f"readings-{start:%Y-%m-%d}.csv", text.getvalue().encode()


def reading(random: Random, wrong: str) -> dict[str, str]:
    """What the pump's instruments show, at some load and speed; `wrong`: what is the matter with it."""
    load, speed = random.uniform(0.3, 1.0), random.uniform(0.8, 1.1)
    found = {
        "flow": 60 * load * speed,
        "pressure": 1.5 + 3.5 * load * speed**2,
        "current": 3 + 9 * load * speed,
        "temperature": 35 + 20 * load,
        "vibration": 0.5 + 0.5 * load + 0.6 * (speed - 0.8),
    }
    changes = {
        "dry": {"flow": random.uniform(0.3, 0.85), "vibration": random.uniform(1.05, 1.6)},
        "blocked": {"flow": random.uniform(0.7, 0.95), "pressure": random.uniform(1.03, 1.3)},
        "bearing": {"temperature": random.uniform(1.02, 1.2), "vibration": random.uniform(1.05, 1.5)},
    }
    for name, factor in changes.get(wrong, {}).items():
        found[name] *= factor
    return {name: f"{value * random.gauss(1, 0.01):.3f}" for name, value in found.items()}


DATASETS = {"digits": digits, "penguins": penguins, "pumps": pumps}


def write(destination: Path, dataset: str, part: str) -> int:
    """Write what is not there yet and return how many files; raises FileExistsError, before anything is written,
    when a file with other contents is in the way."""
    settings = HERE / dataset / "dataset"
    files = {path.name: path.read_bytes() for path in sorted(settings.iterdir()) if path.is_file()}
    for first in PARTS[part]:
        files.update(DATASETS[dataset](first=first))
    new = {name: data for name, data in files.items() if not (destination / name).exists()}
    for name in files.keys() - new.keys():
        if (destination / name).read_bytes() != files[name]:
            raise FileExistsError(f"{destination / name} is there already, with other contents")
    for name, data in new.items():
        path = destination / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    return len(new)


def main() -> int:
    """Read the command line, write, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("destination", type=Path, metavar="DESTINATION", help="a folder, e.g. a fresh git clone")
    parser.add_argument("dataset", choices=sorted(DATASETS))
    parser.add_argument("--part", choices=sorted(PARTS), default="all")
    arguments = parser.parse_args()
    try:
        count = write(arguments.destination, arguments.dataset, arguments.part)
    except OSError as error:
        print(
            f"write_data.py: {error}\n  hint: nothing was overwritten; name an empty folder, or a clone of the dataset repository",
            file=sys.stderr,
        )
        return 2
    print(f"{count} files written to {arguments.destination}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
