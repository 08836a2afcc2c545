"""What is said of files, without where they are on this machine."""

from __future__ import annotations

import re

FOLDERS = re.compile(r"(?<![\w:/.])(?:/[^\s/:;,'\"][^/:;,'\"\n]*)+/(?=[^\s/])")
"""Of an absolute path all but its last part. A folder may have spaces; addresses of pages have none before their first `/`."""


def without_folders(text: str) -> str:
    """The text with only the last part of each path of this machine."""
    return FOLDERS.sub("…/", text.replace("file:///", "/"))
