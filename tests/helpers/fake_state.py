"""What a Jenkins remembers: users, folders, jobs with their config.xml, queue items and builds."""

from __future__ import annotations

import re
import threading
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from fake_pages import failure_page, jetty_page, oops_page

FLOW, FOLDER = "flow-definition", "com.cloudbees.hudson.plugins.folder.Folder"
PLUGINS = {
    "workflow-job": "1571.vb_423c255d6d9",
    "workflow-cps": "4303.v8fa_2a_581f0a_6",
    "git": "5.10.1",
    "cloudbees-folder": "6.1079.vc0975c2de294",
}
OWNER = {FLOW: "workflow-job", FOLDER: "cloudbees-folder", "definition": "workflow-cps", "scm": "git"}
"""Elements that Jenkins marks with plugin="name@version"."""
NOTE = "\x1b[8mha:////4EJkwbXw2mwDlSIj8f1HPvMlmbfmdThxIcUgfXbyBf1UAAAAlh+LCAAAAAAAAP9b85aBtbiIQTGjNKU4P0+vIKc0PTOvWK+kNCUzsag4Ma8kMy+xKB8A=\x1b[0m"
"""What a Jenkins 2.541 puts before each line of the Pipeline's own: a signed object for its web UI."""
REFERENCE = re.compile(r"PasswordParameterDefinition$")


class Refusal(Exception):
    """An answer that is a refusal."""

    def __init__(self, status, page, headers=None):
        super().__init__(status)
        self.status, self.page, self.headers = status, page, headers or {}


def mistake(message):
    """What Jenkins calls a Failure: a page and a header with the message."""
    return Refusal(400, failure_page(message), {"X-Error": message.encode().decode("latin-1")})


@dataclass
class Build:
    job: Job
    number: int
    queue_id: int
    parameters: dict[str, str]
    console: list[str]
    result: str
    end_polls: int
    given: int = 0  # pieces of the console that were handed out
    description: str | None = None
    display_name: str = ""
    aborted: bool = False
    asks: str = ""  # the id of the question (`input`) that it waits for
    answered_by: str = ""
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    duration: int = 4321  # milliseconds, when it has ended

    def abort(self):
        if not self.ended:
            self.aborted, self.end_polls = True, 0

    def answer(self, question, user):
        """As `input/<question>/proceed`: a question that is not asked, or not any more, has no page."""
        if self.asks != question:
            raise Refusal(404, jetty_page(404, "Not Found"))
        self.asks, self.answered_by = "", user

    @property
    def said_all(self):
        return (self.given >= len(self.console) and not self.asks) or self.aborted

    @property
    def ended(self):
        return self.said_all and self.end_polls <= 0

    def finish(self):
        """As if somebody had asked often enough."""
        self.given, self.end_polls = len(self.console), 0
        return self

    def console_from(self, start):
        """The text from byte `start` on, of what there is; each call lets the build say one piece more."""
        if not self.said_all and not self.asks:
            self.given += 1
        raw = "".join(self.console[: self.given])
        text = re.sub(r"^\[Pipeline\]|(?<=^Started by user )", rf"{NOTE}\g<0>", raw, flags=re.MULTILINE).encode()
        # what is after the end of a log is an empty answer, with the real size
        return text[start:].decode(errors="replace"), len(text), not self.said_all

    def described(self, root):
        about = self.listed(root)
        if self.said_all:
            self.end_polls -= 1
        return about

    def listed(self, root):
        result = ("ABORTED" if self.aborted else self.result) if self.ended else None
        parameters = [{"name": name, "value": value} for name, value in self.parameters.items()]
        return {
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun",
            "actions": [{"_class": "hudson.model.ParametersAction", "parameters": parameters}, {}],
            "building": not self.ended,
            "inProgress": not self.ended,
            "description": self.description,
            "displayName": self.display_name or f"#{self.number}",
            "duration": self.duration if self.ended else 0,
            "estimatedDuration": 5000,
            "id": str(self.number),
            "number": self.number,
            "queueId": self.queue_id,
            "result": result,
            "timestamp": self.started,
            "url": f"{self.job.url(root)}{self.number}/",
        }


class Item:
    """A folder or a job with its config.xml."""

    def __init__(self, parent, name, tree):
        self.parent, self.name, self.tree = parent, name, tree

    @property
    def full_name(self):
        return f"{self.parent.full_name}/{self.name}" if self.parent and self.parent.name else self.name

    def url(self, root):
        return f"{self.parent.url(root) if self.parent else root}job/{self.name}/" if self.name else root

    def configure(self, xml, lost=()):
        """As Jenkins does: read into objects, and written out again from them."""
        tree = parse(xml, lost)
        if tree.tag != self.tree.tag:
            raise Refusal(500, oops_page())
        self.tree = tree

    def describe(self, text):
        place = self.tree.find("description")
        (place if place is not None else ET.SubElement(self.tree, "description")).text = text

    def config_xml(self):
        return "<?xml version='1.1' encoding='UTF-8'?>\n" + ET.tostring(self.tree, encoding="unicode")


class Folder(Item):
    def __init__(self, parent, name, tree=None):
        super().__init__(parent, name, tree)
        self.items: dict[str, Item] = {}

    def listed(self, root):
        return [{"name": each.name, "url": each.url(root), "_class": each.tree.tag} for each in self.items.values()]

    def described(self, root):
        about = {"_class": FOLDER, "name": self.name, "fullName": self.full_name, "url": self.url(root)}
        about["description"] = self.tree.findtext("description") or None
        return about | {"jobs": [each.described(root) for each in self.items.values()]}


class Job(Item):
    """A pipeline job, and how its next builds go."""

    def __init__(self, parent, name, tree, **script):
        super().__init__(parent, name, tree)
        self.builds: dict[int, Build] = {}
        self.parameters: dict[str, str] | None = None  # name → default; None: from config.xml
        self.queue_polls = 1
        self.console = ["Started by user Alice\n", "Finished: SUCCESS\n"]
        self.result = "SUCCESS"
        self.end_polls = 1
        self.quiet = False  # a second build of the same parameters joins the one that waits
        for key, value in script.items():
            assert hasattr(self, key), f"Job has no {key}"
            setattr(self, key, value)

    def defaults(self):
        if self.parameters is not None:
            return self.parameters
        found = self.tree.findall(".//parameterDefinitions/*")
        return {each.findtext("name"): each.findtext("defaultValue") or "" for each in found}

    def described(self, root):
        builds = [self.builds[number].listed(root) for number in sorted(self.builds, reverse=True)]
        return {
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowJob",
            "name": self.name,
            "fullName": self.full_name,
            "url": self.url(root),
            "buildable": self.tree.findtext("disabled") != "true",
            "disabled": self.tree.findtext("disabled") == "true",
            "color": "blue",
            "inQueue": False,
            "description": self.tree.findtext("description"),
            "nextBuildNumber": max(self.builds, default=0) + 1,
            "builds": builds,
            "lastBuild": builds[0] if builds else None,
        }


@dataclass
class Waiting:
    job: Job
    parameters: dict[str, str]
    polls: int
    build: Build | None = None
    cancelled: bool = False


class State:
    def __init__(self):
        self.lock = threading.RLock()
        self.version = "2.541.2"
        self.users = {"alice": ("11aabbccddeeff00112233445566778899", "alice's password")}  # token, password
        self.forbidden: set[str] = set()  # e.g. "Job/Create"
        self.crumbs_wanted = True
        self.crumbs: set[str] = set()
        self.plugins: dict[str, dict] = {}  # name → version, active; filled by a test
        self.lost: set[str] = set()  # elements of plugins that are not there
        self.root = Folder(None, "")
        self.queue: dict[int, Waiting] = {}
        self.hold = False  # the queue does not move: no executor

    def forget_what_is_not_on_disk(self):
        """A restart keeps what waits in the queue, and forgets what has left it, and every session."""
        self.crumbs.clear()
        self.queue = {number: item for number, item in self.queue.items() if not item.build and not item.cancelled}

    def listed_plugins(self):
        return [{"shortName": name, "active": True, "enabled": True} | about for name, about in self.plugins.items()]

    def add_job(self, full_name, xml=f"<{FLOW}/>", **script):
        *folders, name = full_name.split("/")
        parent = self.root
        for each in folders:
            parent = parent.items.setdefault(each, Folder(parent, each, ET.fromstring(f"<{FOLDER}/>")))
        job = Job(parent, name, parse(xml), **script)
        parent.items[name] = job
        return job

    def find(self, full_name):
        item = self.root
        for part in full_name.split("/"):
            item = item.items[part]
        return item

    def create(self, folder, name, content_type, xml):
        if not content_type.startswith(("application/xml", "text/xml")):
            raise mistake("No mode given")
        if not name or re.search(r"[?*/\\%!@#$^&|<>\[\]:;]", name):
            raise mistake(f"‘{name}’ is an unsafe name")
        if name in folder.items:
            raise mistake(f"A job already exists with the name ‘{name}’")
        tree = parse(xml, self.lost)
        kinds = {FLOW: Job, FOLDER: Folder}
        if tree.tag not in kinds:
            raise Refusal(500, oops_page())
        folder.items[name] = kinds[tree.tag](folder, name, tree)

    def delete(self, item):
        del item.parent.items[item.name]

    def schedule(self, job, form, user, *, with_parameters):
        """The number of a queue item, and whether it is a new one."""
        if job.tree.findtext("disabled") == "true":
            raise Refusal(409, jetty_page(409, f"{job.full_name} is not buildable"))
        if with_parameters and not job.defaults():
            raise Refusal(400, jetty_page(400, f"{job.full_name} is not parameterized"))
        # what the job does not declare is dropped without a word
        parameters = {name: form.get(name, default) for name, default in job.defaults().items()}
        if job.quiet:
            for number, item in self.queue.items():
                if item.job is job and not item.build and not item.cancelled and item.parameters == parameters:
                    return number, False
        number = max(self.queue, default=100) + 1
        self.queue[number] = Waiting(job, parameters, job.queue_polls)
        return number, True

    def cancel(self, number):
        if number not in self.queue:
            raise Refusal(404, jetty_page(404, "Not Found"))
        self.queue[number].cancelled = True

    def start_build(self, job, parameters=None, queue_id=0):
        number = max(job.builds, default=0) + 1
        console, end_polls = list(job.console), job.end_polls
        job.builds[number] = Build(job, number, queue_id, parameters or {}, console, job.result, end_polls)
        return job.builds[number]

    def queue_item(self, number, root):
        if number not in self.queue:  # Jenkins forgets an item five minutes after it has left the queue
            raise Refusal(404, jetty_page(404, "Not Found"))
        item = self.queue[number]
        about = {"id": number, "task": {"name": item.job.name, "url": item.job.url(root)}, "cancelled": item.cancelled}
        if item.cancelled:
            return about | {"_class": "hudson.model.Queue$LeftItem", "why": None}
        if item.build is None and not self.hold:
            item.polls -= 1
            if item.polls < 0:
                item.build = self.start_build(item.job, item.parameters, number)
        if item.build is None:
            del about["cancelled"]
            return about | {"_class": "hudson.model.Queue$WaitingItem", "why": "Waiting for next available executor"}
        build = {"number": item.build.number, "url": f"{item.job.url(root)}{item.build.number}/"}
        return about | {"_class": "hudson.model.Queue$LeftItem", "why": None, "executable": build}


def parse(xml, lost=()):
    """Read and write as XStream does: no blanks between elements, and marks of plugins; without what no plugin knows."""
    try:
        tree = ET.fromstring(xml)
    except ET.ParseError:
        raise Refusal(500, oops_page()) from None
    for parent in list(tree.iter()):
        for each in [each for each in parent if each.tag in lost]:
            parent.remove(each)
    for each in tree.iter():
        if len(each):
            each.text = None
        each.tail = None
        if plugin := OWNER.get(each.tag):
            each.set("plugin", f"{plugin}@{PLUGINS[plugin]}")
        if REFERENCE.search(each.tag) and (secret := each.find("defaultValue")) is not None:
            secret.text = "{AQAAABAAAAAQ" + format(time.monotonic_ns(), "x") + "}"  # encrypted, anew each time
    defaults(tree)
    return tree


def defaults(tree):
    """Fields that Jenkins writes though nobody has set them."""
    if tree.tag == FLOW:
        wanted = {"actions": "", "keepDependencies": "false", "properties": "", "triggers": "", "disabled": "false"}
    else:
        wanted = {"actions": "", "properties": "", "folderViews": "", "healthMetrics": ""}
    for name, value in wanted.items():
        if tree.find(name) is None:
            ET.SubElement(tree, name).text = value or None
    for scm in tree.iter("scm"):
        for name, value in {"doGenerateSubmoduleConfigurations": "false", "extensions": ""}.items():
            if scm.find(name) is None:
                ET.SubElement(scm, name).text = value or None
