"""A real HTTP server that behaves like Jenkins where it matters to `pipelines.jenkins_server`.

    with FakeJenkins() as fake:
        config = fake.config(tmp_path)               # a Config whose [jenkins] is this server
        monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.token)
        fake.add_job("digits/code", console=["one\\n", "two\\n"], result="UNSTABLE")

Nothing depends on time: a build starts when its queue item has been asked for `queue_polls` times, each call of its
console hands out the next piece, and after the last one it ends once it has been asked for `end_polls` times more.
`fake.state` holds it all (users, jobs, queue, builds); `fake.requests` is what was asked for, `fake.posts()` what changed
something. Failures on demand: `fake.refuse(…)`, `fake.state.forbidden`, `fake.delay`, `fake.before` and `fake.after` (called with each
request, before it is carried out and before it is answered; what they raise is the answer), `fake.stop()` and
`fake.start(starting=3)` for a restart: the queue's finished items and all sessions and crumbs are gone then, builds continue.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from fake_pages import denied_page, failure_page, jetty_page, loading_page, oops_page, tree_of
from fake_state import Folder, Job, Refusal, State

from pipelines.config.schema import Config, JenkinsServer, Repositories


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: str

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body, keep_blank_values=True))


class FakeJenkins:
    """Start it with `with`. `prefix`: Jenkins under a path, e.g. "/jenkins"; `tls`: files of a certificate and its key."""

    user, token, password = "alice", "11aabbccddeeff00112233445566778899", "alice's password"

    def __init__(self, prefix: str = "", tls: tuple[str, str] | None = None) -> None:
        self.prefix, self.tls = prefix, tls
        self.before = self.after = lambda seen: None
        self.state = State()
        self.requests: list[Seen] = []
        self.delay = 0.0  # seconds before each answer
        self.refusals: list[tuple[int, str, str]] = []  # status, content type, body: for the next requests, one each
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{self.prefix}/"

    def start(self, starting: int = 0) -> None:
        """Listen, at the same port as before; the first `starting` requests see Jenkins' "getting ready to work"."""
        self.refuse(503, times=starting)
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Server(("127.0.0.1", self.port), handler)
        self.port = self._server.server_port
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go away: connections are refused. What Jenkins does not write to disk is gone."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._server = None
        self.state.forget_what_is_not_on_disk()

    def refuse(
        self, status: int, body: str = "", *, content_type: str = "text/html;charset=utf-8", times: int = 1
    ) -> None:
        """Answer the next request(s) with this."""
        page = body or (loading_page() if status == 503 else jetty_page(status, "refused by the test"))
        self.refusals += [(status, content_type, page)] * times

    def config(self, here, /, **jenkins) -> Config:
        """Settings for this Jenkins, as `load_config` gives them; `jenkins` are settings of its section."""
        git = "https://git.example.org/team"
        settings = {"url": self.url, "user": self.user, "repository": f"{git}/pipeline.git", "timeout_seconds": 10.0}
        return Config(
            model="digits",
            repositories=Repositories(f"{git}/code.git", f"{git}/dataset.git", f"{git}/tests.git"),
            jenkins=JenkinsServer(**(settings | jenkins)),
            home=str(here / "home"),
            file=str(here / "pipeline" / "trainyard.toml"),
        )

    def add_job(self, full_name: str, **script) -> Job:
        """A job (and its folders) that exists already; `script` sets fields of `Job`: parameters, console, result, …"""
        return self.state.add_job(full_name, **script)

    def posts(self) -> list[Seen]:
        return [seen for seen in self.requests if seen.method == "POST"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *arguments):
        self.lines = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.lines.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.lines.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        for line in list(self.lines):  # clients keep them open for their next request
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """A client that has closed its connection is expected."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeJenkins
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an acknowledgement

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve("")

    def do_POST(self):
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    def _serve(self, body):
        seen = Seen(self.command, self.path, dict(self.headers), body)
        self.fake.requests.append(seen)
        if self.fake.delay:
            time.sleep(self.fake.delay)
        if self.fake.refusals:
            status, kind, page = self.fake.refusals.pop(0)
            return self._answer(status, page, {"Content-Type": kind})
        try:
            with self.fake.state.lock:
                self.fake.before(seen)
                answer = self._route(seen)
                self.fake.after(seen)
        except Refusal as refusal:
            headers = {"Content-Type": "text/html;charset=utf-8"} | refusal.headers
            return self._answer(refusal.status, refusal.page, headers)
        return self._answer(*answer)

    def _answer(self, status, text, headers=None):
        data = text.encode()
        self.send_response(status)
        self.send_header("X-Jenkins", self.fake.state.version)
        for name, value in ({"Content-Type": "text/plain;charset=utf-8"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _route(self, seen):
        address = urlsplit(self.path)
        if not address.path.startswith(self.fake.prefix + "/"):
            raise Refusal(404, jetty_page(404, "Not Found"))
        parts = [unquote(part) for part in address.path.removeprefix(self.fake.prefix).split("/") if part]
        query = {name: values[-1] for name, values in parse_qs(address.query).items()}
        user = self._user()
        if seen.method == "POST":
            self._check_crumb()
        if parts[:1] != ["crumbIssuer"]:
            self._need(user, "Overall/Read")
        match parts:
            case ["api", "json"]:
                return self._json({"mode": "NORMAL", "jobs": self.fake.state.root.listed(self.fake.url)}, query)
            case ["crumbIssuer", "api", "json"]:
                return self._json(self._crumb(), query)
            case ["me", "api", "json"]:
                return self._json({"id": user, "fullName": user.title()}, query)
            case ["pluginManager", "api", "json"]:
                self._need(user, "Overall/SystemRead", "jenkins.model.Jenkins.SystemRead")
                return self._json({"plugins": self.fake.state.listed_plugins()}, query)
            case ["queue", "item", number, "api", "json"]:
                return self._json(self.fake.state.queue_item(int(number), self.fake.url), query)
            case ["queue", "cancelItem"] if seen.method == "POST":
                self.fake.state.cancel(int(query["id"]))
                return 204, ""
        folder, rest = self._walk(user, parts)
        return self._in_item(user, seen, folder, rest, query)

    def _walk(self, user, parts):
        item = self.fake.state.root
        while len(parts) >= 2 and parts[0] == "job":
            found = item.items.get(parts[1]) if isinstance(item, Folder) else None
            if found is None or "Job/Read" in self.fake.state.forbidden:
                raise Refusal(404, jetty_page(404, "Not Found"))
            item, parts = found, parts[2:]
        return item, parts

    def _in_item(self, user, seen, item, rest, query):
        state, post = self.fake.state, seen.method == "POST"
        match rest:
            case ["createItem"] if post and isinstance(item, Folder):
                self._need(user, "Job/Create", "hudson.model.Item.Create")
                state.create(item, query.get("name", ""), self.headers.get("Content-Type", ""), seen.body)
                return 200, ""
            case ["config.xml"] if post:
                self._need(user, "Job/Configure", "hudson.model.Item.Configure")
                item.configure(seen.body, state.lost)
                return 200, ""
            case ["config.xml"]:
                self._need(user, "Job/ExtendedRead", "hudson.model.Item.ExtendedRead")
                return 200, item.config_xml(), {"Content-Type": "application/xml"}
            case ["submitDescription"] if post:
                self._need(user, "Job/Configure", "hudson.model.Item.Configure")
                item.describe(seen.form["description"])
                return 302, "", {"Location": "."}
            case ["doDelete"] if post:
                self._need(user, "Job/Delete", "hudson.model.Item.Delete")
                state.delete(item)
                return 302, "", {"Location": self.fake.url}
            case ["api", "json"]:
                return self._json(item.described(self.fake.url), query)
            case ["build" | "buildWithParameters" as how] if isinstance(item, Job):
                return self._start(user, seen, item, how)
            case [number, *rest] if isinstance(item, Job) and number.isdigit() and int(number) in item.builds:
                return self._in_build(user, seen, item.builds[int(number)], rest, query)
        raise Refusal(404, jetty_page(404, "Not Found"))

    def _start(self, user, seen, job, how):
        if seen.method != "POST":
            raise Refusal(405, jetty_page(405, "This URL requires POST"))
        self._need(user, "Job/Build", "hudson.model.Item.Build")
        number, created = self.fake.state.schedule(job, seen.form, user, with_parameters=how == "buildWithParameters")
        return (201 if created else 303), "", {"Location": f"{self.fake.url}queue/item/{number}/"}

    def _in_build(self, user, seen, build, rest, query):
        match rest:
            case ["api", "json"]:
                return self._json(build.described(self.fake.url), query)
            case ["logText", "progressiveText"]:
                text, end, more = build.console_from(int(query.get("start", 0)))
                headers = {"X-Text-Size": str(end), "Content-Type": "text/plain;charset=utf-8"}
                return 200, text, headers | ({"X-More-Data": "true"} if more else {})
            case ["input", question, "proceed"] if seen.method == "POST":
                self._need(user, "Job/Build", "hudson.model.Item.Build")
                build.answer(question, user)
                return 200, ""
            case ["stop"] if seen.method == "POST":
                self._need(user, "Job/Cancel", "hudson.model.Item.Cancel")
                build.abort()
                return 302, "", {"Location": ".."}
        raise Refusal(404, jetty_page(404, "Not Found"))

    def _user(self):
        """Who asks: Basic with an API token or the password; anonymous may see nothing."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            raise Refusal(
                403, denied_page("Authentication required"), {"X-Required-Permission": "hudson.model.Hudson.Read"}
            )
        name, _, given = base64.b64decode(value).decode().partition(":")
        secrets = self.fake.state.users.get(name, ())
        if given not in secrets:
            raise Refusal(401, jetty_page(401, f"Invalid password/token for user: {name}"))
        self.by_token = given == secrets[0]
        return name

    def _crumb(self):
        if not self.fake.state.crumbs_wanted:
            raise Refusal(404, jetty_page(404, "Not Found"))
        crumb = f"crumb-{len(self.fake.requests)}"
        self.fake.state.crumbs.add(crumb)
        return {"crumb": crumb, "crumbRequestField": "Jenkins-Crumb"}

    def _check_crumb(self):
        state = self.fake.state
        if state.crumbs_wanted and not self.by_token and self.headers.get("Jenkins-Crumb") not in state.crumbs:
            raise Refusal(403, jetty_page(403, "No valid crumb was included in the request"))

    def _need(self, user, permission, class_name="hudson.model.Hudson.Read"):
        if permission in self.fake.state.forbidden:
            page = denied_page(f"{user} is missing the {permission} permission")
            raise Refusal(403, page, {"X-Required-Permission": class_name, "X-You-Are-Authenticated-As": user})

    def _json(self, value, query):
        if "tree" in query:
            value = tree_of(value, query["tree"])
        return 200, json.dumps(value), {"Content-Type": "application/json;charset=utf-8"}


__all__ = ["FakeJenkins", "Refusal", "Seen", "denied_page", "failure_page", "jetty_page", "oops_page"]
