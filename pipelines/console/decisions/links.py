"""Where a commit is shown, as far as a repository's address says."""

from __future__ import annotations

import re
from urllib.parse import quote

from pipelines.repositories.git import redact

SSH = re.compile(r"(?:ssh://)?git@(?P<host>[\w.-]+)(?::\d+(?=/))?[:/](?P<path>[\w./~-]+)")
WEB = re.compile(r"https://(?P<host>[\w.-]+(?::\d+)?)/(?P<path>[\w./~-]+)")
SHA = re.compile(r"[0-9a-f]{7,64}")


def address_of_commit(url: str, sha: str) -> str:
    """The page of the commit on GitHub, GitLab and others of their kind; empty for a repository that has none, such as a folder."""
    bare = redact(url).partition("#")[0]
    found = WEB.fullmatch(bare) or SSH.fullmatch(bare)
    if not found or not SHA.fullmatch(sha):
        return ""
    path = found["path"].strip("/").removesuffix(".git")
    between = "/-/commit/" if "gitlab" in found["host"] else "/commits/" if "bitbucket" in found["host"] else "/commit/"
    return f"https://{found['host']}/{quote(path)}{between}{sha}"
