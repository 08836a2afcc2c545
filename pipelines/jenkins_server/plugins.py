"""The plugins that the Jenkins jobs need: one list, which `apply` checks and the documentation shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from registry.dataclass import dataclass

JENKINS = "2.541.2"
"""Tested with."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """Versions of a plugin: releases before `oldest` (those of early 2024) are not supported."""

    oldest: str
    tested: str
    why: str


REQUIRED: dict[str, Plugin] = {
    "cloudbees-folder": Plugin("6.928", "6.1079.vc0975c2de294", "the folder of a model's Jenkins jobs"),
    "credentials-binding": Plugin("677", "725.ve52b_2328a_fde", "passwords from Jenkins' credentials"),
    "git": Plugin("5.2.2", "5.10.1", "checkouts, polling, notifyCommit"),
    "junit": Plugin("1265", "1402.va_87fd3d15dc3", "test results and their trend"),
    "pipeline-input-step": Plugin("495", "551.vdff487c5998c", "approval of a promotion"),
    "pipeline-model-definition": Plugin("2.2198", "2.2289.v6f731d0a_02da_", "declarative pipelines"),
    "timestamper": Plugin("1.27", "1.30", "times in the console"),
    "workflow-basic-steps": Plugin("1058", "1098.v808b_fd7f8cf4", "catchError, unstable, dir, archiveArtifacts"),
    "workflow-cps": Plugin("3894", "4303.v8fa_2a_581f0a_6", "pipelines, with a script from git"),
    "workflow-durable-task-step": Plugin("1353", "1479.v56e587f413a_7", "node, sh"),
    "workflow-job": Plugin("1400", "1571.vb_423c255d6d9", "pipeline jobs"),
    "workflow-scm-step": Plugin("427", "466.va_d69e602552b_", "checkout"),
}

FOR_RETRAINING: dict[str, Plugin] = {
    "pipeline-build-step": Plugin("540", "584.vdb_a_2cc3a_d07a_", "the job monitor starts the job dataset"),
}
"""Needed only where an alarm is followed by a retraining."""


def problems(found: Iterable[Mapping[str, Any]], *, retraining: bool = False) -> list[str]:
    """What is missing, disabled or too old among the plugins that `pluginManager/api/json` lists.

    `retraining`: an alarm is followed by one.
    """
    from jenkins.plugins import PluginVersion

    installed = {str(each.get("shortName")): each for each in found}
    problems = []
    for name, plugin in sorted((REQUIRED | (FOR_RETRAINING if retraining else {})).items()):
        wanted = f"{plugin.oldest} or newer, tested with {plugin.tested}"
        if name not in installed:
            problems.append(f"{name} is missing ({wanted})")
        elif not installed[name].get("enabled", True):
            problems.append(f"{name} is disabled")
        elif not installed[name].get("active", True):
            problems.append(f"{name} is installed, but was not loaded")
        elif PluginVersion(str(installed[name].get("version"))) < PluginVersion(plugin.oldest):
            problems.append(f"{name} {installed[name].get('version')} is too old ({wanted})")
    return problems
