"""Prepares a dataset of images in one folder per class. Needs Pillow; neither NumPy nor pyarrow."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Literal

from registry.records import TensorSpec
from training.data import said
from training.data.arrays import create_npy, write_description, write_labels
from training.data.assign import assign
from training.data.checks import Checks, SampleList, TwinHints, check_classes, check_samples, check_spellings
from training.data.dataset_toml import DatasetFile, Images
from training.data.decode import NAMES, SUFFIXES
from training.data.image_files import ARRAY, Chunk, ImageFile, peek
from training.data.near_images import check_near
from training.data.readers import read
from training.data.spec import SPLITS, DataSpec, PrepareJob, SplitName
from training.data.split import hashes, shuffled, split_rule
from training.worker.protocol import report_event

OTHER_IMAGES = {".gif", ".ppm", ".pgm", ".heic", ".avif", ".jp2", *SUFFIXES}
CHUNK = 256  # images
POOL_FILES, POOL_BYTES = 3000, 24 << 20  # from here on a pool of processes saves more than its start costs
CHANNELS = {"": 0, "L": 1, "RGB": 3}

FOLDERS = "the folders hold images by class"
WHOLE = "every image is a whole PNG or JPEG file"
WHOLE_ANY = "every image is a whole file of a declared format"
MODE = "every image is 8-bit grey or RGB"
SAME_SIZE = "all images have the same size"
SAME_MODE = "all images have the same mode"
GROUPS = "every file name names its group"
TWINS = TwinHints(
    splits="keep one of them, or keep such images in one split with [images] group",
    labels="keep the image in the folder of its class alone; an image of several classes cannot be learned from",
)


@dataclass(slots=True)
class Listing:
    """The image files, sorted by name, before any is opened."""

    names: list[str] = field(default_factory=list)
    """Relative to the images folder: `<class>/<file>`."""
    per_class: dict[str, int] = field(default_factory=dict)

    def first_of(self, label: str) -> str:
        """The first image of a class."""
        return next((name for name in self.names if name.startswith(f"{label}/")), "none")


@dataclass(frozen=True, slots=True)
class Shape:
    """What every image must be; all zero when there is no usable image to learn it from."""

    height: int = 0
    width: int = 0
    mode: str = ""

    @property
    def row_bytes(self) -> int:
        """The bytes of one image in the array."""
        return self.height * self.width * CHANNELS[self.mode]


def prepare(repository: Path, settings: DatasetFile, output: Path, checks: Checks, job: PrepareJob) -> SampleList:
    """Check all images and write the three splits to `output`; what is wrong goes to `checks`.

    Each file is read once, and its pixels go straight to where they belong on the disk: memory does not grow with them.
    """
    source = settings.source
    assert isinstance(source, Images)
    folder = repository / source.folder
    listing = list_images(repository, source, settings.classes, checks)
    samples = _samples(listing, settings, checks)
    if samples.names:
        _read_rule(repository, settings, samples, checks)
    assign(samples, hashes(samples.names), settings, checks)
    check_spellings(
        checks, "the images folder", listing.per_class, listing.first_of, "put all images of a class into one folder"
    )
    samples.classes = check_classes(checks, settings.classes, listing.per_class, "folder")
    shape = _shape(source, folder, samples.names)
    rows = {split: _rows(samples, split) for split in SPLITS}
    pixels_at = _allocate(output, rows, shape, len(samples.names))
    if job.files:
        for split, label in product(SPLITS, listing.per_class):
            (output / split / "files" / source.folder / label).mkdir(parents=True)
    chunks = _chunks(folder, source, samples.names, shape, pixels_at, files=job.files)
    images: list[ImageFile] = []
    for found in read(chunks, _pool_size(folder, samples.names, job.processes)):
        images += found
        report_event("progress", done=len(images), of=len(samples.names), what="images read")
    _check_images(checks, source, samples.names, images)
    samples.digests = [image.digest or name.encode() for name, image in zip(samples.names, images, strict=True)]
    read_here = zip(samples.names, images, strict=True)
    samples.contents, samples.keyed = samples.digests, True
    samples.files = {f"{source.folder}/{name}": (each.digest.hex(), each.bytes) for name, each in read_here}
    check_samples(checks, samples, TWINS)
    if settings.rule.leakage and not checks.failed:
        check_near(checks, samples, {split: (output / split / ARRAY, rows[split]) for split in SPLITS})
    if (repository / "expectations.json").exists():
        _write_index(output.parent / "index.parquet", samples, images)
    if not checks.failed:
        spec = _spec(shape, samples.classes, len(rows["train"]))
        spec = replace(spec, split=split_rule(settings), preparation=source.preparation)
        spec = replace(spec, moving=settings.rule.moves, boundaries=samples.boundaries, ordered=settings.ordered)
        for split in SPLITS:
            _finish(output / split, rows[split], samples, spec)
    return samples


def list_images(repository: Path, source: Images, declared: Sequence[str], checks: Checks) -> Listing:
    """List each class folder below the repository's folder of images, without opening a file."""
    checks.make(FOLDERS)
    listing, folder = Listing(), repository / source.folder
    if (
        not folder.is_dir() or folder.resolve() != repository.resolve() / source.folder
    ):  # the latter: not through a link
        checks.fail(FOLDERS, f"[images] folder: {source.folder!r} is not a folder", "correct it in dataset.toml")
        return listing
    stray = []
    for entry in _entries(folder, checks):
        if entry.is_symlink():
            checks.fail(FOLDERS, f"{entry.name} is a symbolic link", "put the images themselves into the repository")
        elif entry.is_dir():
            before = len(listing.names)
            _list_class(entry, source, listing, checks)
            listing.per_class[entry.name] = len(listing.names) - before
        elif SUFFIXES.get(_suffix(entry.name)) in source.how.formats:
            stray.append(entry.name)
    if stray:
        checks.note(f"{len(stray)} images are outside the class folders and are not used (e.g. {stray[0]})")
    unused = [name for name, count in listing.per_class.items() if declared and name not in declared and not count]
    for name in unused:
        checks.note(f"folder {name} holds no images and is not among `classes`: not used")
        del listing.per_class[name]
    return listing


def _list_class(folder: os.DirEntry[str], source: Images, listing: Listing, checks: Checks) -> None:
    for entry in _entries(Path(folder.path), checks):
        name, suffix = f"{folder.name}/{entry.name}", _suffix(entry.name)
        taken = SUFFIXES.get(suffix) in source.how.formats
        if entry.is_dir(follow_symlinks=False):
            hint = "images belong directly into their class folder: move them up"
            checks.fail(FOLDERS, f"{name} is a folder inside a class folder", hint)
        elif taken and not (entry.is_file() or entry.is_symlink()):
            checks.fail(FOLDERS, f"{name} is not a file, but a pipe, a socket or a device", "delete it")
        elif taken:
            listing.names.append(name)
        elif suffix in OTHER_IMAGES:
            checks.fail(
                FOLDERS,
                f"{name} is {'neither ' if source.how.formats[1:] else 'not '}{' nor '.join(NAMES[each] for each in source.how.formats)}",
                _undeclared(source, suffix),
            )
        else:
            checks.note(f"{name} is not an image: not used")


def _undeclared(source: Images, suffix: str) -> str:
    """What to do about an image of another format."""
    if suffix not in SUFFIXES:
        return "save it as PNG, or delete it"
    declared = json.dumps([*source.how.formats, SUFFIXES[suffix]])
    return f"declare it in dataset.toml: [images] formats = {declared}; or save it as PNG, or delete it"


def _entries(folder: Path, checks: Checks) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        for entry in sorted(found, key=lambda each: each.name):
            if entry.name.startswith("."):
                continue
            try:
                entry.name.encode()
            except UnicodeEncodeError:
                shown = os.fsencode(entry.name).decode("ascii", "backslashreplace")
                checks.fail(FOLDERS, f"{shown}: the name is not UTF-8", "rename it")
            else:
                yield entry


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _samples(listing: Listing, settings: DatasetFile, checks: Checks) -> SampleList:
    assert isinstance(settings.source, Images)
    samples = SampleList(names=listing.names, labels=[name.partition("/")[0] for name in listing.names])
    pattern = re.compile(settings.source.group)
    if settings.source.group:
        checks.make(GROUPS)
    for name in listing.names:
        if settings.source.group:
            found = pattern.search(name.partition("/")[2])
            if found is None or found[1] is None:
                hint = f"rename the file, or change [images] group = {settings.source.group!r}"
                checks.fail(GROUPS, f"{name} does not match", hint)
                samples.groups.append(name)
            else:
                samples.groups.append(found[1])
    return samples


def _read_rule(repository: Path, settings: DatasetFile, samples: SampleList, checks: Checks) -> None:
    """What the files that `[split]` names say of the images, by `<class>/<file>`."""
    rule, names = settings.rule, samples.names
    if rule.file and (found := said.read(repository, rule.file, "[split] file", ("split",), names, checks)):
        samples.said = found.of("split")
    if rule.time and (found := said.read(repository, rule.time, "[split] time", ("time",), names, checks)):
        samples.times = said.read_times(found.of("time"), rule.time, samples.called, checks)


def _shape(source: Images, folder: Path, names: Sequence[str]) -> Shape:
    size = source.size or source.how.resize
    if size and source.mode:
        return Shape(*size, source.mode)
    for name in names:
        if found := peek(f"{folder}/{name}", source.preparation, source.mode):
            height, width = size or found[:2]
            return Shape(height, width, source.mode or found[2])
    return Shape()


def _rows(samples: SampleList, split: SplitName) -> list[int]:
    """The samples of the split's arrays, in order: classes mixed, so that any part is a fair sample of the whole."""
    members = [i for i, each in enumerate(samples.splits) if each == split]
    return [members[i] for i in shuffled(hashes(samples.names[i] for i in members))]


def _allocate(output: Path, rows: dict[SplitName, list[int]], shape: Shape, samples: int) -> list[tuple[str, int]]:
    """Create the arrays; returns where each sample's pixels belong: the split's folder, and the offset."""
    pixels_at = [("", 0)] * samples
    for split, members in rows.items():
        folder = os.path.realpath(output / split)
        (output / split).mkdir(parents=True)
        dimensions = (len(members), shape.height, shape.width, CHANNELS[shape.mode])
        start = create_npy(output / split / ARRAY, "|u1", dimensions, 1)
        for row, index in enumerate(members):
            pixels_at[index] = (folder, start + row * shape.row_bytes)
    return pixels_at


def _chunks(
    folder: Path, source: Images, names: Sequence[str], shape: Shape, pixels_at: list[tuple[str, int]], *, files: bool
) -> list[Chunk]:
    return [
        Chunk(
            os.path.realpath(folder),  # the kernel follows the links on the way once, not for each file
            source.folder if files else None,
            tuple(names[at : at + CHUNK]),
            tuple(pixels_at[at : at + CHUNK]),
            (shape.height, shape.width, shape.mode),
            source.preparation,
        )
        for at in range(0, len(names), CHUNK)
    ]


def _pool_size(folder: Path, names: Sequence[str], processes: int) -> int:
    if len(names) < POOL_FILES and sum(os.lstat(f"{folder}/{name}").st_size for name in names) < POOL_BYTES:
        return 1
    return min(processes or len(os.sched_getaffinity(0)), -(-len(names) // CHUNK))


def _check_images(checks: Checks, source: Images, names: Sequence[str], images: Sequence[ImageFile]) -> None:
    whole = WHOLE_ANY if source.preparation else WHOLE
    checks.make(whole, MODE, SAME_SIZE, SAME_MODE)
    good = [image.made for image in images if not image.error]
    sizes, modes = Counter(made[:2] for made in good), Counter(made[2] for made in good)
    size = source.size or next((found for found, _ in sizes.most_common(1)), (0, 0))
    mode: str = source.mode or next((found for found, _ in modes.most_common(1)), "")
    for name, image in zip(names, images, strict=True):
        if image.error:
            checks.fail(MODE if image.about == "mode" else whole, f"{name} {image.error}", image.hint)
            continue
        height, width, found = image.made
        if (height, width) != size and not source.how.resize:
            message = f"{name} is {height}×{width}, not {size[0]}×{size[1]} (height × width)"
            hint = "declare in dataset.toml what to do: [images] resize = [height, width]; or resize it as your clients will, or delete it"
            checks.fail(SAME_SIZE, message, hint)
        if found != mode:
            word = "grey" if found == "L" else "rgb"
            hint = f"convert it, e.g. with Pillow: image.convert({mode!r}); or declare it in dataset.toml: [images] mode = {json.dumps(mode)} and convert = [{json.dumps(word)}]"
            checks.fail(SAME_MODE, f"{name} has mode {found}, not {mode}", hint)
    rotated = [name for name, image in zip(names, images, strict=True) if image.rotated]
    if rotated:
        checks.note(
            f'{len(rotated)} JPEGs have an EXIF orientation, which is not applied (e.g. {rotated[0]}); [images] exif = "turn" applies it'
        )


def _write_index(path: Path, samples: SampleList, images: Sequence[ImageFile]) -> None:
    """The table that expectations about images are checked against."""
    import pyarrow as pa
    from pyarrow import parquet

    readable = [i for i, image in enumerate(images) if not image.error]
    columns = {
        "path": [samples.names[i] for i in readable],
        "label": [samples.labels[i] for i in readable],
        "width": [images[i].width for i in readable],
        "height": [images[i].height for i in readable],
        "mode": [images[i].mode for i in readable],
        "bytes": [images[i].bytes for i in readable],
    }
    parquet.write_table(pa.table(columns), path)


def _spec(shape: Shape, classes: tuple[str, ...], train_samples: int) -> DataSpec:
    image = TensorSpec("image", (None, shape.height, shape.width, CHANNELS[shape.mode]), "uint8", 0, 255)
    mode: Literal["L", "RGB"] = "L" if shape.mode == "L" else "RGB"
    return DataSpec("images", "classification", (image,), classes, image_mode=mode, train_samples=train_samples)


def _finish(folder: Path, rows: Sequence[int], samples: SampleList, spec: DataSpec) -> None:
    number = {name: i for i, name in enumerate(spec.classes)}
    write_labels(folder / "y.npy", [number[samples.labels[i]] for i in rows])
    write_description(folder, spec, [samples.names[i] for i in rows])
