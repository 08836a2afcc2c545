"""`trainyard demo`: the whole loop on real data, in a folder of its own, with the commands that a team would type."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.commands import demo_models
from pipelines.commands.demo_place import Port, alone, clear
from pipelines.commands.demo_scanner import SETTINGS, Scanner
from pipelines.commands.demo_store import BUCKET, DemoStore
from pipelines.commands.demo_team import CHECKOUT, Team, quietly
from pipelines.commands.seaweedfs import REGION
from pipelines.config.schema import RENAMED
from registry import candidates, heads, releases
from registry.errors import ConfigError, PipelineError
from registry.records import Candidate
from registry.stores import Store

NEEDS_CONFIG = False
EXAMPLE = CHECKOUT / "examples" / "digits"
MODEL = "digits"
NAMES = ("code", "dataset", "tests")
GOOD = 0.9
"""Of the second scanner's images, so many the new model must read. It reads 95.8 to 100 % of the 120; another processor trains
another model, and each image counts for 0.8 %."""
WHERE = {"process": "process", "docker": "container"}
PORTS = {"process": 8500, "docker": 8510}
"""Where the API is to be found when the port is free; others, so that one demo of each runner can be played at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "--folder", type=Path, default=Path("demo"), help="the demo's folder, deleted and made again (default ./demo)"
    )
    parser.add_argument(
        "--runner",
        choices=("process", "docker"),
        default="process",
        help="docker: workers and the API run in containers (`trainyard images build` first)",
    )
    parser.add_argument(
        "--store",
        choices=("folder", "s3"),
        default="folder",
        help="s3: the registry is in a bucket of a server that is started",
    )
    parser.add_argument(
        "--models",
        type=int,
        choices=(1, 2),
        default=1,
        help="2: two models in one pipeline repository, as docs/how-to/many-models.md has it",
    )
    parser.add_argument(
        "--stop", action="store_true", help="stop the API, and the store, that the last demo left running"
    )


def main(args: argparse.Namespace) -> int:
    """Play every scene; raises PipelineError at the first that does not end as it should."""
    signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))  # a terminal that is closed ends it, too
    if args.models == 2:
        return _two_models(args)
    demo = Demo(args.folder.resolve(), args.runner, DemoStore(args.folder.resolve() / "s3"), args.store)
    if args.stop and not demo.config.exists():
        print(f"no demo in {demo.folder}")
        return 0
    if not EXAMPLE.is_dir():
        raise ConfigError("the demo needs a checkout of Trainyard, with its examples/ folder")
    with alone(demo.folder):
        if args.stop:
            demo.stop()
        else:
            play(demo)
    return 0


def _two_models(args: argparse.Namespace) -> int:
    if args.runner != "process" or args.store != "folder":
        raise ConfigError("--models 2 is played with processes and a folder", hint="omit --runner and --store")
    if args.stop:
        demo_models.stop(args.folder.resolve())
    else:
        demo_models.play(args.folder.resolve())
    return 0


def play(demo: Demo) -> None:
    """Every scene; when one fails, or is interrupted, nothing stays running."""
    started = time.monotonic()
    try:
        for scene in (
            demo.prepare, demo.first_push, demo.approve, *demo.new_data, demo.stricter_tests, demo.roll_back
        ):  # fmt: skip
            scene()
    except BaseException:
        demo.stop(quiet=True)
        raise
    demo.goodbye(time.monotonic() - started)


class Demo(Team):
    """One team's three repositories, and what happens to them."""

    def prepare(self) -> None:
        """Three bare repositories and three clones, with the example's files in them."""
        self._say(
            "A team has three git repositories: the model's code, its data, and tests for it",
            f"All of this demo happens in {self.folder}; nothing else on this machine is touched.",
            "The data: 1,797 real handwritten digits. For now the team has the first 1,080 of them.",
        )
        self._clear_folder()
        self.port = Port(PORTS[self.runner])  # kept: it is ours until the API listens there
        text = (EXAMPLE / "trainyard.toml").read_text(encoding="utf-8")
        where = f'port = {self.port.number}\ndeploy = "{self.runner}"\ntimeout_seconds = 2'
        text = text.replace("port = 8500", where) + SETTINGS
        text += f'\n[runner]\nkind = "{self.runner}"\n'
        self.config.write_text(self._with_bucket(text) if self.kind == "s3" else text, encoding="utf-8")
        self.url = f"http://127.0.0.1:{self.port.number}"
        self.scanner = Scanner(self.folder / "scanner", self.url)
        for name in NAMES:
            bare = self.folder / "repositories" / f"{name}.git"
            quietly("git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
            quietly("git", "clone", "--quiet", str(bare), str(self.work / name))
            quietly("git", "checkout", "--quiet", "-B", "main", cwd=self.work / name)
        shutil.copytree(EXAMPLE / "tests", self.work / "tests", dirs_exist_ok=True)
        shutil.copytree(EXAMPLE / "code", self.work / "code", dirs_exist_ok=True)
        self._write_data("first")
        self._push("dataset", "The first 1,080 digits")
        self._push("tests", "What we expect of a model")
        print("Trainyard puts a hook into each repository, so that from now on a push starts its pipeline:\n")
        self._trainyard("hooks", "install")

    def _with_bucket(self, text: str) -> str:
        """Start the object store; the settings with registry and data in it."""
        self.store.start()
        print(
            f"Registry and data are in a bucket of a real S3 server, which was started for it: {self.store.endpoint}\n"
        )
        host = self.store.endpoint.removeprefix("http://")
        trusted = (
            f'branch = "main"\ntrusted = ["s3://{BUCKET}/digits", "{host}"]  # from where files of the dataset may come'
        )
        where = f'url = "s3://{BUCKET}/registry"\nendpoint = "{self.store.endpoint}"\nregion = "{REGION}"'
        return text.replace('branch = "main"', trusted) + f"\n[registry]\n{where}\n"

    def first_push(self) -> None:
        """Code is pushed: trained from scratch."""
        self._say(
            "An engineer pushes the model's code",
            "Every line that begins with “remote:” is the pipeline, showing the pusher what it does: it checks the data,",
            f"trains in a {WHERE[self.runner]} of its own, measures the model on a holdout that training never saw, asks the gate,",
            "registers the model as a candidate, tests it in a staging instance, and writes to the product owner.",
        )
        self._push("code", "A small convolutional network")
        print(f"\n{fenced(candidates.manifest(self._registry(), MODEL, 1))}")

    def approve(self) -> None:
        """The product owner reads the mail and runs its command; the API answers."""
        self._say(
            "The product owner reads the mail and approves",
            "No mail server is set here, so the mail was written to a file. Its command carries a signed token for",
            "exactly this model: nobody can promote another one with it.",
        )
        self._promote_from_mail(show=True)
        print()
        self._predict("an image of a 3", self._image("3", 0))
        print(f"\n{signed(self._registry(), MODEL)}")
        self._trainyard("registry", "verify")

    @property
    def new_data(self) -> tuple[Callable[[], None], ...]:
        """How data that look different come in: as requests that somebody labels, or, into a bucket, by a push."""
        return (self.more_data,) if self.kind == "s3" else (self.second_scanner, self.labels)

    def second_scanner(self) -> None:
        """Requests that look different: the monitor finds it."""
        self._say(
            "A second scanner sends its images to the API: dark ink on light paper",
            "Nobody has announced it. The API answers, and keeps what it has answered; the monitor compares that with what",
            "the model saw on its holdout when it was accepted.",
        )
        quietly(
            sys.executable,
            str(CHECKOUT / "examples" / "write_data.py"),
            str(self.scanner.folder),
            "digits",
            "--part",
            "rest",
        )
        share, images = self.scanner.accuracy()
        print(
            f"Of {images} images of the second scanner the model reads {share:.0%}; nobody in the team knows that yet."
        )
        print(f"{self.scanner.send()} others come as requests.")
        labelled = self.scanner.label(self.config)
        print(
            f"Of these answers, `trainyard labels queue` asks people about {labelled}: those in which the model was least sure, and"
        )
        print("some drawn at random. A script plays the person, and says what it sees to POST /feedback.\n")
        self.scanner.wait()
        self._trainyard("monitor", "--once", expected=3)

    def labels(self) -> None:
        """Their labels become data: retrained, approved, swapped in."""
        self._say(
            "The labels become data, and the data a better model",
            "They are committed to the dataset repository in its own format, and pushed. That starts the pipeline as any push:",
            "the live model is measured on the new holdout, does not pass, and is retrained; the result must beat it.",
        )
        self._trainyard("labels", "commit", "--by", "demo@example.org")
        self._promote_from_mail(show=False)
        share, images = self.scanner.accuracy()
        print(
            f"\nOf the {images} images of the second scanner that nobody has labelled the new model reads {share:.1%}."
        )
        if share <= GOOD:
            raise PipelineError(
                f"the new model reads {share:.1%} of the second scanner's images",
                hint=f"it should be more than {GOOD:.0%}",
            )

    def more_data(self) -> None:
        """New data that look different: retrained, approved, swapped in."""
        self._say(
            "More data arrive: 717 digits from another scanner, dark ink on light paper",
            "Trainyard first measures the live model on the new data. It cannot read them, so the model is retrained,",
            "starting from the live one; what comes out must beat the live release on the same holdout.",
        )
        self._write_data("rest")
        self._predict("one of the new 3s, by the old model", self._image("3", -1))
        self._push("dataset", "717 digits from the second scanner")
        self._promote_from_mail(show=False)
        self._predict(
            "the same 3, by the new model, which was swapped in without losing a request", self._image("3", -1)
        )

    def stricter_tests(self) -> None:
        """The tests change: nothing is trained, what exists is tested again."""
        self._say(
            "Somebody adds a stricter test",
            "Nothing is trained: the newest candidate and the live release are tested again, with the new tests.",
        )
        shutil.copytree(EXAMPLE / "stricter_tests", self.work / "tests", dirs_exist_ok=True)
        self._push("tests", "A stricter test")

    def roll_back(self) -> None:
        """Back to the first version, forward in the history."""
        self._say(
            "Suppose the new model turned out to be a mistake: roll back",
            "A rollback is a new release that points to an earlier version. Nothing is retrained, no request is lost.",
        )
        self._trainyard("rollback", "digits")
        self._predict("an image of a 3, by the version that is live again", self._image("3", 0))
        self._trainyard("registry", "history", "digits")

    def goodbye(self, seconds: float) -> None:
        """What to try next, and how to stop."""
        here = shlex.quote(os.path.relpath(self.work / "code"))
        trainyard = os.path.relpath(Path(sys.executable).parent / "trainyard")
        config = os.path.relpath(self.config)
        self._say(f"That was the whole loop, in {seconds:.0f} seconds. The API keeps running at {self.url}")
        if self.kind == "s3":
            print(
                "  first: "
                + " ".join(("export", *(f"{name}={value}" for name, value in self.store.environment.items())))
            )
        print(f"  look:  open {self.url}/ in a browser; {trainyard} registry list digits --config {config}")
        print(f"  play:  edit {here}/model.py, git -C {here} commit -am 'My idea', git -C {here} push")
        print(f"  stop:  {trainyard} demo --stop --folder {shlex.quote(os.path.relpath(self.folder))}")

    def stop(self, *, quiet: bool = False) -> None:
        """Stop what a demo has left running: the API, and the store."""
        try:
            if self.config.exists():
                self._rename_settings()
                self._trainyard("serve", "digits", "--stop", quiet=quiet)
        finally:
            self.store.stop()

    def _clear_folder(self) -> None:
        self.stop(quiet=True)
        clear(self.folder)
        self.work.mkdir()

    def _rename_settings(self) -> None:
        """In the config of a demo that an earlier version of Trainyard has played: its API could not be stopped."""
        text = self.config.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = text.replace(f"\n{old.partition('.')[2]} = ", f"\n{new.partition('.')[2]} = ")
        self.config.write_text(text, encoding="utf-8")


def fenced(manifest: Candidate) -> str:
    """What the code that has trained a version could not reach, in a sentence."""
    what = f"Version {manifest.version} was trained"
    if manifest.image:
        return f"{what} in a container without network, which sees its inputs and nothing else of this machine."
    if manifest.unfenced is None:
        return f"{what} without a fence: its code could reach what its user can."
    if manifest.unfenced:
        return f"{what} in a fence with gaps: this kernel could not keep its code from {', '.join(manifest.unfenced)}."
    return f"{what} in a fence: its code could not reach the network, the registry, secrets or other processes."


def signed(store: Store, model: str) -> str:
    """What proves the newest release, in a sentence. Raises Corrupt when its signature does not match."""
    release, head = releases.latest(store, model), heads.newest(store, model)
    if release is None or head is None:
        return "Nothing is signed here: who can write the registry can replace what is in it."
    return (
        f"Release {release.number} is signed with key {head.key}; the registry's head, which every mail has, is now\n"
        f"  {head.line}"
    )
