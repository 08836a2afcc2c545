"""A trial on a real Jenkins: `JENKINS_URL`, `JENKINS_USER` and `JENKINS_TOKEN` (an API token of an administrator) name it.

It needs the plugins that docs/how-to/jenkins.md lists, an agent on this machine (of the label `JENKINS_AGENT`; any, when
that is not set) with Python 3.11+ and git, curl, and no Docker. Agent and tests must see the same temporary folder:
`TMPDIR` names another one. Tests as root, or as the agent's own user; others may not end the agent's processes.

It takes about ten minutes, and some more the first time, when the agent installs the pinned packages. It makes a folder
of its own in Jenkins, and at the end removes it, with all that it has started and written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jenkins_trial import Trial
from real_jenkins import Jenkins, wait_for

NEEDED = ("JENKINS_URL", "JENKINS_USER", "JENKINS_TOKEN")


@pytest.fixture(scope="session")
def jenkins():
    """The Jenkins that the environment names."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no Jenkins to try: {', '.join(missing)} not set")
    with pytest.MonkeyPatch.context() as patch, Jenkins(*(os.environ[name] for name in NEEDED)) as jenkins:
        near = ["127.0.0.1", "localhost", urlsplit(jenkins.url).hostname or "", os.environ.get("no_proxy", "")]
        for name in ("no_proxy", "NO_PROXY"):  # a proxy does not know our loopback
            patch.setenv(name, ",".join(filter(None, near)))
        yield jenkins


@pytest.fixture(scope="module")
def trial(jenkins):
    """Three repositories over HTTP, the pipeline's repository, and a mail server; nothing is on Jenkins yet."""
    root = Path(tempfile.mkdtemp(prefix="trainyard-team-"))
    root.chmod(0o755)  # the agent may be another user of this machine
    try:
        with Trial(root, jenkins) as trial:
            yield trial
    finally:
        wait_for(lambda: shutil.rmtree(root, ignore_errors=True) or not root.exists(), f"{root} to be removed", 30)


@pytest.fixture(scope="module")
def jobs(trial):
    """The folder and its jobs are made, and their first builds asked for."""
    trial.trainyard("jenkins", "apply")
    return trial


@pytest.fixture(scope="module")
def watching(jobs):
    """The first builds have ended, so Jenkins looks at the repositories, and a push tells it to."""
    jobs.await_first_builds()
    jobs.install_hooks()
    return jobs
