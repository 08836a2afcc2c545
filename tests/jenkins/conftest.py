"""End-to-end tests on a real Jenkins: `JENKINS_URL`, `JENKINS_USER` and `JENKINS_TOKEN` (an administrator's API token) name it.

They need the plugins that docs/how-to/jenkins.md lists, an agent on this machine (of the label `JENKINS_AGENT`; any, when
that is not set) with Python 3.11+ and git, curl, and no Docker. Agent and tests must see the same temporary folder:
`TMPDIR` names another one. Tests as root, or as the agent's own user; others may not end the agent's processes.

They take about ten minutes, and some more the first time, when the agent installs the pinned packages. They create a folder
of their own in Jenkins, and at the end remove it, with all that they have started and written.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jenkins_scenario import JenkinsScenario
from real_jenkins import Jenkins, wait_for

NEEDED = ("JENKINS_URL", "JENKINS_USER", "JENKINS_TOKEN")


@pytest.fixture(scope="session")
def jenkins():
    """The Jenkins that the environment names."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no Jenkins to test with: {', '.join(missing)} not set")
    with pytest.MonkeyPatch.context() as patch, Jenkins(*(os.environ[name] for name in NEEDED)) as jenkins:
        near = ["127.0.0.1", "localhost", urlsplit(jenkins.url).hostname or "", os.environ.get("no_proxy", "")]
        for name in ("no_proxy", "NO_PROXY"):  # a proxy does not know our loopback
            patch.setenv(name, ",".join(filter(None, near)))
        yield jenkins


@pytest.fixture(scope="module")
def scenario(jenkins):
    """Three repositories over HTTP, the pipeline's repository, and a mail server; nothing is on Jenkins yet."""
    root = Path(tempfile.mkdtemp(prefix="trainyard-team-"))
    root.chmod(0o755)  # the agent may be another user of this machine
    try:
        with JenkinsScenario(root, jenkins) as scenario:
            yield scenario
    finally:
        wait_for(lambda: shutil.rmtree(root, ignore_errors=True) or not root.exists(), f"{root} to be removed", 30)


@pytest.fixture(scope="module")
def jobs(scenario):
    """The folder and its Jenkins jobs exist, and their first builds are queued."""
    scenario.trainyard("jenkins", "apply")
    return scenario


@pytest.fixture(scope="module")
def watching(jobs):
    """The first builds have ended, so Jenkins polls the repositories, and a push notifies it."""
    jobs.await_first_builds()
    jobs.install_hooks()
    return jobs
