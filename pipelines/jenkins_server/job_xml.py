"""The config.xml of a Jenkins job: which parts are Trainyard's, how they differ from the config, and how to update them.

Jenkins reads the file into objects and writes these out again: in another order, with marks of plugins, defaults, and
what Declarative adds in a job's builds. So nothing is compared as text, and all other parts stay as they are.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from pipelines.jenkins_server.jobs import JenkinsJob, Parameter
from registry.dataclass import dataclass
from registry.errors import ConfigError

FLOW = "flow-definition"
FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
FROM_SCM = "org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition"
GIT = "hudson.plugins.git.GitSCM"
REMOTE = "hudson.plugins.git.UserRemoteConfig"
BRANCH = "hudson.plugins.git.BranchSpec"
ONE_AT_A_TIME = "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty"
PARAMETERS = "hudson.model.ParametersDefinitionProperty"
KINDS = {
    "string": "hudson.model.StringParameterDefinition",
    "boolean": "hudson.model.BooleanParameterDefinition",
    "password": "hudson.model.PasswordParameterDefinition",
    "choice": "hudson.model.ChoiceParameterDefinition",
}
MARK = re.compile(
    r"Trainyard's (folder|job \S+) of (?:model (\S+)|several models), kept by `trainyard jenkins apply`\."
)
PENDING = " Its first build since the last change has not started yet."


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs from the config; `was` is empty for what is missing."""

    what: str
    was: str
    wanted: str


def mark(what: str, model: str) -> str:
    """The line in a description that marks what Trainyard manages; `what` is `folder` or `job code`, without `model` a folder of
    several."""
    of_what = f"model {model}" if model else "several models"
    return f"Trainyard's {what} of {of_what}, kept by `trainyard jenkins apply`."


def parse(xml: str, where: str) -> ET.Element:
    """The file as a tree; raises ConfigError for what Python cannot read (Jenkins may write XML 1.1)."""
    try:
        return ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", xml))  # noqa: S314  (our own Jenkins; expat bounds entities)
    except ET.ParseError as error:
        raise ConfigError(
            f"{where}: its config.xml cannot be read ({error})",
            hint="check its configuration in Jenkins for control characters",
        ) from None


def write(tree: ET.Element) -> str:
    """The tree as Jenkins accepts it."""
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ET.tostring(tree, encoding="unicode")


def owner(tree: ET.Element) -> tuple[str, str] | None:
    """Kind (`job code`, `folder`) and model of the mark in its description; None without a mark."""
    found = MARK.search(tree.findtext("description") or "")
    return (found[1], found[2]) if found else None


def is_pending(tree: ET.Element) -> bool:
    """Whether the first build since our last change has yet to be started."""
    return PENDING in (tree.findtext("description") or "")


def without_pending(description: str) -> str:
    """The description once that build has been started."""
    return description.replace(PENDING, "")


def empty_job() -> ET.Element:
    """A pipeline job before `merge`."""
    tree = ET.Element(FLOW)
    for name in ("actions", "description", "properties", "triggers"):
        ET.SubElement(tree, name)
    ET.SubElement(tree, "disabled").text = "false"
    return tree


def folder_xml(model: str) -> str:
    """A new folder."""
    tree = ET.Element(FOLDER)
    ET.SubElement(tree, "actions")
    ET.SubElement(tree, "description").text = mark("folder", model)
    ET.SubElement(tree, "properties")
    return write(tree)


def merge(tree: ET.Element, job: JenkinsJob) -> list[Difference]:
    """Update the tree of a Jenkins job; returns what differed, nothing when it was up to date."""
    changes: list[Difference] = []
    definition = _definition(tree, changes)
    _put(definition, "scriptPath", job.script, "Jenkinsfile", changes)
    _put(definition, "lightweight", "true", "lightweight checkout", changes)
    _git(definition, job, changes)
    properties = _child(tree, "properties")
    if job.one_at_a_time and properties.find(ONE_AT_A_TIME) is None:
        ET.SubElement(properties, ONE_AT_A_TIME)
        changes.append(Difference("builds at the same time", "allowed", "not allowed"))
    _parameters(properties, job, changes)
    _describe(tree, job, changes)
    return changes


def _definition(tree: ET.Element, changes: list[Difference]) -> ET.Element:
    found = tree.find("definition")
    if found is not None and found.get("class") == FROM_SCM:
        return found
    if found is not None:
        tree.remove(found)
        changes.append(Difference("definition", found.get("class", ""), "pipeline script from git"))
    return ET.SubElement(tree, "definition", {"class": FROM_SCM})


def _git(definition: ET.Element, job: JenkinsJob, changes: list[Difference]) -> None:
    scm = definition.find("scm")
    if scm is None or scm.get("class") != GIT:
        if scm is not None:
            definition.remove(scm)
            changes.append(Difference("scm", scm.get("class", ""), "git"))
        scm = ET.SubElement(definition, "scm", {"class": GIT})
        ET.SubElement(scm, "configVersion").text = "2"  # otherwise the plugin reads `*/main` as an old form
        ET.SubElement(scm, "doGenerateSubmoduleConfigurations").text = "false"
        ET.SubElement(scm, "submoduleCfg", {"class": "empty-list"})
        ET.SubElement(scm, "extensions")
    remote = _only(_child(scm, "userRemoteConfigs"), REMOTE, "repositories", changes)
    _put(remote, "url", job.repository, "repository", changes)
    _put(remote, "credentialsId", job.credentials, "credentials", changes)
    branch = _only(_child(scm, "branches"), BRANCH, "branches", changes)
    # a lightweight checkout needs a branch, not a pattern
    _put(branch, "name", job.branch if job.branch.startswith("refs/") else f"*/{job.branch}", "branch", changes)


def _only(parent: ET.Element, tag: str, what: str, changes: list[Difference]) -> ET.Element:
    """The one child of this kind; more than one is reduced to the first."""
    found = list(parent)
    for surplus in found[1:]:
        parent.remove(surplus)
    if len(found) > 1:
        changes.append(Difference(what, str(len(found)), "1"))
    return found[0] if found else ET.SubElement(parent, tag)


def _parameters(properties: ET.Element, job: JenkinsJob, changes: list[Difference]) -> None:
    definitions = _child(_child(properties, PARAMETERS), "parameterDefinitions")
    there = {each.findtext("name"): each for each in definitions}
    for parameter in job.parameters:
        found = there.get(parameter.name)
        if found is not None and not parameter.managed:
            continue
        if found is not None and found.tag != KINDS[parameter.kind]:
            changes.append(Difference(f"parameter {parameter.name}", found.tag, KINDS[parameter.kind]))
            definitions.remove(found)
            found = None
        if found is None:
            _declare(definitions, parameter)
            changes.append(Difference(f"parameter {parameter.name}", "", parameter.default))
            continue
        _put(found, "defaultValue", parameter.default, f"parameter {parameter.name}", changes, keep=True)


def _declare(definitions: ET.Element, parameter: Parameter) -> None:
    tree = ET.SubElement(definitions, KINDS[parameter.kind])
    ET.SubElement(tree, "name").text = parameter.name
    if parameter.about:
        ET.SubElement(tree, "description").text = parameter.about
    if parameter.kind == "choice":
        choices = ET.SubElement(tree, "choices")
        for choice in parameter.choices:
            ET.SubElement(choices, "string").text = choice
        return
    ET.SubElement(tree, "defaultValue").text = parameter.default
    if parameter.kind == "string":
        ET.SubElement(tree, "trim").text = "true"


def _describe(tree: ET.Element, job: JenkinsJob, changes: list[Difference]) -> None:
    """Put our line into the description of a new job; text that a person has written around it stays."""
    description, line = _child(tree, "description"), mark(f"job {job.name}", job.model)
    text = description.text or line
    if changes and job.has_triggers and PENDING not in text:
        text = text.replace(line, line + PENDING)
    description.text = text


def _put(
    parent: ET.Element, tag: str, wanted: str, what: str, changes: list[Difference], *, keep: bool = False
) -> None:
    """Set a text; for an empty one the element is removed, unless `keep`."""
    found = parent.find(tag)
    was = (found.text or "") if found is not None else ""
    if was == wanted and (found is not None or not (wanted or keep)):
        return
    if was != wanted:
        changes.append(Difference(what, was, wanted))
    if found is None:
        found = ET.SubElement(parent, tag)
    found.text = wanted
    if not (wanted or keep):
        parent.remove(found)


def _child(parent: ET.Element, tag: str) -> ET.Element:
    found = parent.find(tag)
    return found if found is not None else ET.SubElement(parent, tag)
