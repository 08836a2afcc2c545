"""What a CI server shows of a run: a folder in the workspace of its build.

    <build>/run              a link to the run's folder
    <build>/run.txt          the run's name: a server that keeps this file can resume in another workspace
    <build>/name.txt         model, version and metric, one short line
    <build>/description.txt  the same, the commits, and the result of the last step
    <build>/decided          exists when nothing but the mail is left to do
    <build>/report/          once the mail is written: what the server keeps and shows

The run itself is with those of all other builds of the model: a build that is started again finds it there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.reuse.symlinks import replace_with_symlink
from pipelines.runs import RunFolder
from registry import candidates, codec, heads
from registry.errors import ConfigError, PipelineError
from registry.files import write_whole
from registry.records import Evaluation
from registry.stores import Store

MAX_DESCRIPTION = 500  # characters, beside the head
BUILD_URL = "build.txt"
"""In the run's folder: the address of the build that has published its report."""
STATUS_FILES = ("run", "run.txt", "name.txt", "description.txt", "decided", "report")


def check_home(config: Config) -> None:
    """All Jenkins jobs of a model share its runs and its registry, so `home` cannot be in the workspace of one of them.

    Raises ConfigError. `WORKSPACE` is what Jenkins calls the folder of its job on an agent.
    """
    workspace = os.environ.get("WORKSPACE")
    if workspace and Path(config.home).is_relative_to(Path(workspace).resolve()):
        raise ConfigError(
            f"{config.file}: home is {config.home}, in the workspace of one Jenkins job; the model's other jobs would not see it",
            hint='write an absolute path that all agents share, e.g. home = "/var/lib/trainyard'
            f'{"" if config.shared else f"/{config.model}"}", or set TRAINYARD_HOME',
        )


class BuildFolder:
    """The files of one build."""

    def __init__(self, root: Path, runs: Path) -> None:
        self.root, self._runs = root, runs

    @property
    def run(self) -> RunFolder:
        """The run that this build is about; raises ConfigError when `resolve` has not run, or the run is gone."""
        link = self.root / "run"
        if not link.is_symlink() and (named := self._named()):
            replace_with_symlink(link, named)
        if not (link / "run.json").exists():
            raise ConfigError(
                f"{link} leads to no run",
                hint="start the build again from its first stage: the run resumes",
            )
        return RunFolder(link.resolve())

    def _named(self) -> Path | None:
        """The run that `run.txt` names, when that is one of this model's."""
        try:
            name = (self.root / "run.txt").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        folder = self._runs / name
        return folder if "/" not in name and (folder / "run.json").exists() else None

    def clear(self) -> None:
        """Delete what an earlier build has left."""
        for name in STATUS_FILES:
            path = self.root / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def start(self, folder: RunFolder) -> None:
        """Link the run that this build is about."""
        replace_with_symlink(self.root / "run", folder.root)
        write_whole(self.root / "run.txt", f"{folder.root.name}\n".encode())

    def write(self, context: Context) -> None:
        """Write name, description and `decided` of the run as it is now, however the step ended."""
        folder = self.run
        name, lines = _status(context, folder)
        write_status(self.root, name, lines, head_line(context.store, context.config.model))
        if folder.decided():
            write_whole(self.root / "decided", b"")

    def take_report(self) -> None:
        """Copy the run's report: a server keeps real files of its workspace, written during the build.

        The run remembers the build, so that others can link to what the server shows of it.
        """
        if url := os.environ.get("BUILD_URL", ""):
            write_whole(self.run.root / BUILD_URL, f"{url}\n".encode())
        made, kept = self.run.root / "report", self.root / "report"
        shutil.rmtree(kept, ignore_errors=True)
        if made.is_dir():
            shutil.copytree(made, kept, copy_function=shutil.copyfile)


def write_status(root: Path, name: str, lines: Iterable[str], head: str = "") -> None:
    """Write name and description of a build into its folder; `head` is its last line, and never cut off."""
    root.mkdir(parents=True, exist_ok=True)
    write_whole(root / "name.txt", f"{_one_line(name)}\n".encode())
    text = "\n".join(_one_line(each) for each in lines)
    text = text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"
    write_whole(root / "description.txt", "".join(f"{each}\n" for each in (text, head) if each).encode())


def head_line(store: Store, model: str) -> str:
    """The registry's newest head as a line; empty in a registry that is not signed, or when it cannot be verified."""
    try:
        found = heads.newest(store, model)
    except PipelineError:  # whatever meets the damage reports it
        return ""
    return found.line if found else ""


def page_of_run(folder: Path) -> Iterator[tuple[str, str]]:
    """Where to read more about a run: pages of the build that has published its report, else the report itself."""
    try:
        url = (folder / BUILD_URL).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        url = ""
    if url.startswith(("http://", "https://")):
        yield "report", f"{url.rstrip('/')}/artifact/build/report/index.html"
        yield "metrics and tests", f"{url.rstrip('/')}/testReport/"
    elif (folder / "report" / "index.html").exists():
        yield "report", str(folder / "report" / "index.html")


def _status(context: Context, folder: RunFolder) -> tuple[str, list[str]]:
    """Name and lines of the description."""
    run = folder.run
    version = run.candidate if run.trigger == "tests" else _version(context, folder)
    metric = context.config.gate.measure
    found = _evaluation(folder)
    name = [run.model, *([str(version)] if version else [])]
    about = [f"{run.model} version {version}" if version else run.model]
    if found and metric in found.candidate.values:
        value = f"{found.candidate.values[metric]:.4g}"
        name.append(value)
        about.append(f"{metric} {value}")
        if found.live and metric in found.live.values:
            about.append(f"live version {run.parent}: {found.live.values[metric]:.4g}")
    commits = ", ".join(f"{name} {getattr(run.sources, name)[:7]}" for name in ("code", "dataset", "tests"))
    records = folder.records()
    last = [f"{records[-1].step}: {records[-1].note}"] if records else []
    reason = [f"reason: {run.reason}"] if run.reason else []
    return " ".join(name), [", ".join(about), commits, *last, *reason]


def _version(context: Context, folder: RunFolder) -> int | None:
    if not folder.record("register"):
        return None
    try:
        return candidates.find_run(context.store, folder.run.model, folder.run.id)
    except PipelineError:  # the step that meets the damage reports it
        return None


def _evaluation(folder: RunFolder) -> Evaluation | None:
    path = folder.root / "evaluate" / "result.json"
    return codec.read(Evaluation, path) if folder.record("evaluate") and path.exists() else None


def _one_line(text: str) -> str:
    """One line that stays text, also on a server that renders descriptions as HTML."""
    from pipelines.text.clean import clean

    return clean(text).replace("<", "‹").replace(">", "›")
