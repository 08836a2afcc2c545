"""What a file is, by its first bytes, when that is not what its name says."""

from __future__ import annotations

KINDS = (
    (
        b"PK\x03\x04",
        "a zip archive, as Excel workbooks (.xlsx) are",
        'where it is a workbook, give it the ending .xlsx, and name its sheet: sheet = "…" under [table] in dataset.toml; else unpack it',
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "an old Excel workbook (.xls), or one with a password",
        "save it as .xlsx without a password, or the sheet as CSV (UTF-8)",
    ),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ", "compressed by xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it with unzstd"),
    (b"PAR1", "a Parquet file", "give it the ending .parquet, and name it so in dataset.toml"),
    (b"ARROW1", "an Arrow (Feather) file", "store it as Parquet or CSV"),
    (b"\x89HDF", "an HDF5 file", "store the table as Parquet or CSV"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x93NUMPY", "a NumPy array", 'store it as .npz, with format = "npz"'),
    (b"%PDF", "a PDF document", "export the table as CSV"),
)
MARKUP = (
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML"),
    (b'{"', "JSON"),
    (b"[{", "JSON"),
)


def known_kind(start: bytes) -> tuple[str, str] | None:
    """What a file with these first bytes is, in words, and what to do about it; None: nothing that is known here."""
    for magic, kind, hint in KINDS:
        if start.startswith(magic):
            return kind, hint
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for begin, kind in MARKUP:
        if text.startswith(begin):
            page = "open it: most often it says why the download failed; then download the data again"
            lines = "an object in each line is JSON Lines: give it the ending .jsonl; else store the table as CSV or Parquet"
            return (
                kind,
                page if kind == "a web page" else lines if kind == "JSON" else "store the table as CSV or Parquet",
            )
    return None
