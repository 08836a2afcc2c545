"""`trainyard demo`: the whole loop on real data, in a folder of its own, with the commands that a team would type."""

from __future__ import annotations

import argparse
import email
import email.policy
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.commands.demo_store import BUCKET, REGION, DemoStore
from pipelines.config.load import load_config
from pipelines.config.schema import RENAMED
from pipelines.trust import open_registry
from registry import candidates, heads, releases
from registry.errors import ConfigError, PipelineError
from registry.records import Candidate
from registry.stores import Store

NEEDS_CONFIG = False
CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLE = CHECKOUT / "examples" / "digits"
MODEL = "digits"
MARK = ".trainyard-demo"  # only a folder that holds this is ever deleted
NAMES = ("code", "dataset", "tests")
WHERE = {"process": "process", "docker": "container"}


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
        "--stop", action="store_true", help="stop the API, and the store, that the last demo left running"
    )


def main(args: argparse.Namespace) -> int:
    """Play every scene; raises PipelineError at the first that does not end as it should."""
    demo = Demo(args.folder.resolve(), args.runner, DemoStore(args.folder.resolve() / "s3"), args.store)
    if args.stop:
        demo.stop()
        return 0
    started = time.monotonic()
    for scene in (demo.prepare, demo.first_push, demo.approve, demo.more_data, demo.stricter_tests, demo.roll_back):
        scene()
    demo.goodbye(time.monotonic() - started)
    return 0


class Demo:
    """One team's three repositories, and what happens to them."""

    def __init__(self, folder: Path, runner: str, store: DemoStore, kind: str) -> None:
        """`store` is used with the `kind` "s3"."""
        self.folder = folder
        self.runner = runner
        self.store = store
        self.kind = kind
        self.work = folder / "work"
        self.config = folder / "trainyard.toml"
        self.url = ""
        self.scene = 0

    def prepare(self) -> None:
        """Three bare repositories and three clones, with the example's files in them."""
        self._say(
            "A team has three git repositories: the model's code, its data, and tests for it",
            f"All of this demo happens in {self.folder}; nothing else on this machine is touched.",
            "The data: 1,797 real handwritten digits. For now the team has the first 1,080 of them.",
        )
        if not EXAMPLE.is_dir():
            raise ConfigError("the demo needs a checkout of Trainyard, with its examples/ folder")
        self._fresh_folder()
        port = _free_port(8500)
        text = (EXAMPLE / "trainyard.toml").read_text(encoding="utf-8")
        text = text.replace("port = 8500", f'port = {port}\ndeploy = "{self.runner}"')
        text += f'\n[runner]\nkind = "{self.runner}"\n'
        self.config.write_text(self._with_bucket(text) if self.kind == "s3" else text, encoding="utf-8")
        self.url = f"http://127.0.0.1:{port}"
        for name in NAMES:
            bare = self.folder / "repositories" / f"{name}.git"
            _quietly("git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
            _quietly("git", "clone", "--quiet", str(bare), str(self.work / name))
            _quietly("git", "checkout", "--quiet", "-B", "main", cwd=self.work / name)
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
        print(f"  stop:  {trainyard} demo --stop")

    def stop(self) -> None:
        """Stop the API of an earlier demo."""
        if self.config.exists():
            self._rename_settings()
            self._trainyard("serve", "digits", "--stop")
            self.store.stop()
        else:
            print(f"no demo in {self.folder}")

    def _fresh_folder(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / MARK).exists():
                raise ConfigError(f"{self.folder} is not an earlier demo's", hint="choose another with --folder")
            if self.config.exists():
                self._rename_settings()
                self._trainyard("serve", "digits", "--stop", quiet=True)
            self.store.stop()
            shutil.rmtree(self.folder)
        self.work.mkdir(parents=True)
        (self.folder / MARK).touch()

    def _rename_settings(self) -> None:
        """In the config of a demo that an earlier version of Trainyard has played: its API could not be stopped."""
        text = self.config.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = text.replace(f"\n{old.partition('.')[2]} = ", f"\n{new.partition('.')[2]} = ")
        self.config.write_text(text, encoding="utf-8")

    def _write_data(self, part: str) -> None:
        script = str(CHECKOUT / "examples" / "write_data.py")
        folder = self.work / "dataset"
        described, section = folder / "dataset.toml", ""
        if self.kind == "s3":  # the example itself has none, and must be found as it is
            section = (
                f'\n[data]\nstore = "s3://{BUCKET}/digits"\nendpoint = "{self.store.endpoint}"\nregion = "{REGION}"\n'
            )
            if described.exists():
                described.write_text(described.read_text(encoding="utf-8").removesuffix(section), encoding="utf-8")
        _quietly(sys.executable, script, str(folder), "digits", "--part", part)
        if section:
            with described.open("a", encoding="utf-8") as file:
                file.write(section)
            for words in (["add", "pictures"], ["push"]):
                command = [sys.executable, "-P", "-m", "pipelines", "data", *words]
                self._run(command, shown=f"trainyard data {shlex.join(words)}", cwd=folder)

    def _push(self, name: str, subject: str) -> None:
        folder = self.work / name
        author = ["-c", "user.name=Demo", "-c", "user.email=demo@example.org"]
        _quietly("git", "add", "--all", cwd=folder)
        _quietly("git", *author, "commit", "--quiet", "--message", subject, cwd=folder)
        print(f"$ git -C {os.path.relpath(folder)} push      # {subject}", flush=True)
        subprocess.run(["git", "push", "--quiet", "origin", "main"], cwd=folder, check=True)

    def _promote_from_mail(self, *, show: bool) -> None:
        outbox = self.folder / ".trainyard" / "outbox" / "pending"
        mails = sorted(outbox.glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
        if not mails:
            raise PipelineError(f"no mail in {outbox}", hint="the lines above say what went wrong")
        message = email.message_from_bytes(mails[-1].read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        assert body is not None
        text = body.get_content()
        if show:
            print(f"To: {message['To']}\nSubject: {message['Subject']}\n")
            print("\n".join(f"  | {line}" for line in text.splitlines()), end="\n\n")
        else:
            print(f"The mail: {message['Subject']}\n")
        command = next((line.strip() for line in text.splitlines() if " promote digits " in line), "")
        if not command:
            raise PipelineError(f"the mail has no promotion command: {message['Subject']}", hint=f"read {mails[-1]}")
        self._run(shlex.split(command), shown=command.partition("--approval")[0] + "--approval …")

    def _predict(self, what: str, image: Path) -> None:
        print(f"Ask the API about {what}:")
        url = f"{self.url}/predict"
        if shutil.which("curl"):
            self._run(["curl", "--silent", "--show-error", "--fail-with-body", "--data-binary", f"@{image}", url])
            print()
            return
        import requests

        answer = requests.post(url, data=image.read_bytes(), timeout=10)
        print(f"$ curl --data-binary @{os.path.relpath(image)} {url}\n{json.dumps(answer.json())}")
        answer.raise_for_status()

    def _image(self, label: str, index: int) -> Path:
        return sorted((self.work / "dataset" / "pictures" / label).glob("*.png"))[index]

    def _registry(self) -> Store:
        return open_registry(load_config(self.config, os.environ), only_look=True)

    def _trainyard(self, *arguments: str, quiet: bool = False) -> None:
        command = [sys.executable, "-P", "-m", "pipelines", *arguments, "--config", str(self.config)]
        if quiet:
            subprocess.run(command, check=False, capture_output=True)
        else:
            self._run(command, shown=f"trainyard {shlex.join(arguments)}")

    def _run(self, command: Sequence[str], shown: str = "", cwd: Path | None = None) -> None:
        text = shown or shlex.join(os.path.relpath(each) if each.startswith("/") else each for each in command)
        print(f"$ {text.replace(f'@{Path.cwd()}/', '@')}", flush=True)
        code = subprocess.run(command, check=False, cwd=cwd).returncode
        if code:
            raise PipelineError(f"{shown or command[0]} ended with {code}", hint="its own words are above")

    def _say(self, title: str, *lines: str) -> None:
        self.scene += 1
        print(f"\n━━━ {self.scene}. {title}", *lines, "", sep="\n", flush=True)


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


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quietly(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
