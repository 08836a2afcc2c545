"""A trial on a real Jenkins: `JENKINS_URL`, `JENKINS_USER` and `JENKINS_TOKEN` (an API token of an administrator) name it.

It needs the plugins that docs/how-to/jenkins.md lists, an agent on this machine with Python 3.11+ and git, and no Docker.
It makes a folder of its own there, and removes it at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from real_jenkins import Jenkins, Stage

NEEDED = ("JENKINS_URL", "JENKINS_USER", "JENKINS_TOKEN")


@pytest.fixture(scope="session")
def jenkins():
    """The Jenkins that the environment names."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no Jenkins to try: {', '.join(missing)} not set")
    return Jenkins(*(os.environ[name] for name in NEEDED))


@pytest.fixture(scope="module")
def stage(jenkins):
    """Three repositories over HTTP, the pipeline's repository, a mail server, and a folder of jobs."""
    root = Path(tempfile.mkdtemp(prefix="trainyard-jenkins-"))
    root.chmod(0o777)  # Jenkins' agent may be another user of this machine
    try:
        with Stage(root, jenkins) as stage:
            yield stage
    finally:
        shutil.rmtree(root, ignore_errors=True)
