"""Images of one split that are nearly an image of another one, by their perceptual hashes.

Two hashes differ in at most two bits exactly when some third one differs from each in at most one. So the hashes of the small
splits are written down with all their neighbours, and each other hash asks for its own: the cost grows with the number of images,
not of pairs. Loads NumPy when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.data.checks import Checks, SampleList
from training.data.spec import SPLITS, SplitName

NEAR = 2
"""Bits in which perceptual hashes of 64 may differ so that two images count as one."""
TWINS = "no image is nearly one of another split"
AT_ONCE = 256
ORDER: tuple[SplitName, ...] = ("holdout", "validation")
"""The splits whose images must not be known from the ones behind them, and from train."""


def check_near(checks: Checks, samples: SampleList, pixels: Mapping[SplitName, tuple[Path, Sequence[int]]]) -> None:
    """Report images that are nearly one of another split. `pixels`: split → its array, of shape (images, height, width,
    channels), and which sample each row is. Equal files are another check's."""
    import numpy as np

    checks.make(TWINS)
    hashed = {split: np.array(_hashes(*pixels[split]), np.uint64) for split in SPLITS}
    found: list[tuple[int, int]] = []
    for place, split in enumerate(ORDER):
        others: list[SplitName] = ["train", *ORDER[place + 1 :]]
        rows = [row for other in others for row in pixels[other][1]]
        of_others = np.concatenate([hashed[other] for other in others])
        here = pixels[split][1]
        pairs = ((here[i], rows[j]) for i, j in near(hashed[split], of_others))
        found += [(a, b) for a, b in pairs if samples.digests[a] != samples.digests[b]]
    if found:
        one, other = found[0]
        first = f"{samples.called(one)} ({samples.splits[one]}) and {samples.called(other)} ({samples.splits[other]})"
        message = f"{len(found):,} images are nearly one of another split, the first: {first}"
        hint = "keep such images in one split with [images] group, or keep one of them"
        checks.leak(TWINS, message, hint, len(found))


def near(small: Any, large: Any) -> Iterator[tuple[int, int]]:
    """For each hash of `small` that is near to some of `large`: its index, and that of one of those. Both are NumPy arrays of
    uint64."""
    import numpy as np

    if not len(small) or not len(large):
        return
    flips = np.array([0, *(1 << bit for bit in range(64))], np.uint64)
    neighbours = (small[:, None] ^ flips[None, :]).reshape(-1)
    owners = np.repeat(np.arange(len(small)), len(flips))
    order = np.argsort(neighbours, kind="stable")
    neighbours, owners = neighbours[order], owners[order]
    partner = np.full(len(small), -1)
    hashes, rows = np.unique(large, return_index=True)  # in order, so that most look-ups are near the one before
    for flip in flips:
        wanted = hashes ^ flip
        first = np.minimum(np.searchsorted(neighbours, wanted), len(neighbours) - 1)
        for place in np.flatnonzero(neighbours[first] == wanted):
            mine = owners[first[place] : np.searchsorted(neighbours, wanted[place], side="right")]
            partner[mine[partner[mine] < 0]] = rows[place]
    yield from ((int(i), int(partner[i])) for i in np.flatnonzero(partner >= 0))


def _hashes(array: Path, rows: Sequence[int]) -> list[int]:
    import numpy as np

    from training.data.perceptual import of_images

    if not rows:
        return []
    pixels = np.load(array, mmap_mode="r")
    parts = (of_images(pixels[at : at + AT_ONCE]) for at in range(0, len(rows), AT_ONCE))
    return [int(each, 16) for part in parts for each in part]
