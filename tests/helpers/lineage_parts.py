"""Versions with lists of their dataset, for the tests of lineage."""

from registry_parts import FILES, write_files
from versions import candidate

from registry import candidates, dataset_lists
from registry.files import sha256_bytes
from registry.records import DatasetTree


def publish_with_data(store, folder, run, data, keys=None, **fields):
    """Register a version whose dataset holds `data` (path → bytes) and `keys` (split → row keys); gives its number.

    None for `data`: as a version that was made before there were lists."""
    files, tree = dict(FILES), None
    if data is not None:
        listed = sorted(
            (dataset_lists.DataFile(sha256_bytes(each), len(each), path) for path, each in data.items()),
            key=lambda each: each.path,
        )
        text = dataset_lists.files_text(listed)
        digest, count = sha256_bytes(text), None
        files[dataset_lists.FILES] = dataset_lists.pack(text)
        if keys is not None:
            by_kind = {split: {"row": each} for split, each in keys.items()}
            files[dataset_lists.KEYS], count = dataset_lists.keys_bytes(digest, by_kind)
        tree = DatasetTree(digest, len(data), sum(map(len, data.values())), count)
    version = candidates.claim(store, "digits", run)
    card = candidate("digits", version, run, write_files(folder / run, files), dataset=tree, **fields)
    candidates.publish(store, card, folder / run)
    return version
