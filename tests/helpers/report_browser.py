"""A real Chromium that reads a page as Jenkins serves it, driven over a pipe: no script runs in the page, none needs to."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
POLICY = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';"
"""What Jenkins sends with every file of a build's artifacts and workspace."""
PATIENCE = 60  # seconds


class _AsJenkins(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        for name in ("Content-Security-Policy", "X-Content-Security-Policy", "X-WebKit-CSP"):
            self.send_header(name, POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def do_GET(self):
        if self.path == "/favicon.ico":  # a browser may ask for it at any time; Jenkins has one
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_request(self, code="-", size="-"):
        self.server.answered.append((self.path, int(code)))

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder: Path):
    """The folder over HTTP, with Jenkins' headers; gives its address and the list of (path, status) answered so far."""
    handler = functools.partial(_AsJenkins, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.answered = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", server.answered
        finally:
            server.shutdown()


class Browser:
    """One page of one Chromium."""

    def __init__(self, home: Path) -> None:
        (read, their_write), (their_read, write) = os.pipe(), os.pipe()
        high = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (their_read, their_write)]
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
        # Chromium reads commands from 3 and answers on 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{high[0]} 4>&{high[1]}', "bash"]
        self.process = subprocess.Popen(
            [*shell, CHROMIUM, *flags, f"--user-data-dir={home}", "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=high, env=os.environ | {"HOME": str(home)},
        )  # fmt: skip
        for each in (their_read, their_write, *high):
            os.close(each)
        self.read, self.write, self.rest, self.last, self.session = read, write, b"", 0, ""
        self.events = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Audits", "DOM", "CSS", "Network"):
            self.ask(f"{domain}.enable")

    def open(self, url: str, width: int = 1280, *, dark: bool = False) -> None:
        """Load a page, and forget what the one before said."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.ask("Page.navigate", url=url)
        self._until(lambda: any(each["method"] == "Page.loadEventFired" for each in self.events))
        self.ask("Page.getLayoutMetrics")  # what was said about the load has come by now

    def complaints(self) -> list[str]:
        """What the browser's console and its audits say of the page: violations of the policy above all."""
        said = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Audits.issueAdded"}
        return [json.dumps(each["params"]) for each in self.events if each["method"] in said]

    def style(self, selector: str) -> dict[str, str]:
        """The computed style of the first element that matches."""
        found = self.ask("CSS.getComputedStyleForNode", nodeId=self._nodes(selector)[0])
        return {each["name"]: each["value"] for each in found["computedStyle"]}

    def boxes(self, selector: str) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of every element that matches."""
        quads = [self.ask("DOM.getBoxModel", nodeId=each)["model"]["border"] for each in self._nodes(selector)]
        return [(min(q[::2]), min(q[1::2]), max(q[::2]), max(q[1::2])) for q in quads]

    def width(self) -> float:
        """How wide the page is, in CSS pixels."""
        return self.ask("Page.getLayoutMetrics")["cssContentSize"]["width"]

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def close(self) -> None:
        """End the browser."""
        for each in (self.read, self.write):
            os.close(each)
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, **parameters):
        """The result of one command of the DevTools protocol."""
        self.last += 1
        number, answers = self.last, []
        command = {"id": number, "method": method, "params": parameters}
        command |= {"sessionId": self.session} if self.session else {}
        os.write(self.write, json.dumps(command).encode() + b"\0")

        def take(message) -> None:
            answers.append(message) if message.get("id") == number else self.events.append(message)

        self._until(lambda: answers, take)
        assert "result" in answers[0], (method, answers[0])
        return answers[0]["result"]

    def _nodes(self, selector: str) -> list[int]:
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        return self.ask("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]

    def _until(self, done, take=None) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert select.select([self.read], [], [], max(0, end - time.monotonic()))[0], "Chromium does not answer"
            data = os.read(self.read, 1 << 16)
            assert data, "Chromium has gone"
            *whole, self.rest = (self.rest + data).split(b"\0")
            for each in filter(None, whole):
                (take or self.events.append)(json.loads(each))


def needed():
    """Skip the module where there is no Chromium."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium", allow_module_level=True)


@contextlib.contextmanager
def shown(folder: Path, home: Path):
    """A browser, the address of the pages in a folder, and what their server has been asked for."""
    with served(folder) as (url, answered):
        browser = Browser(home)
        try:
            yield browser, url, answered
        finally:
            browser.close()


def breaks_no_rule_and_fits(browser: Browser, url: str, width: int, *, dark: bool) -> None:
    """The page obeys the policy, and nothing on it is wider than the screen."""
    browser.open(f"{url}/index.html", width, dark=dark)
    assert not browser.complaints()
    assert browser.width() <= width
    for left, _, right, _ in browser.boxes("h1, p, figure, .box, .scroll, .tiles, .files"):
        assert 0 <= left < right <= width


def images_apart(browser: Browser, url: str) -> list[tuple[float, float, float, float]]:
    """Where the page's figures are; none of them covers another."""
    browser.open(f"{url}/index.html")
    images = browser.boxes("figure img")
    for one in images:
        for other in images:
            assert one is other or one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    return images


def opens_alone(browser: Browser, url: str) -> None:
    """A drawing shows its texts without the page around it."""
    browser.open(url)
    assert not browser.complaints()
    assert browser.boxes("text")


EVERY_SCREEN = [(width, dark) for width in (1280, 390) for dark in (False, True)]
SCREENS = ["desk", "desk in the dark", "phone", "phone in the dark"]
