"""A proxy on loopback between a client and a real S3 server, which does to some requests what networks and servers do.

What is injected is a function of the request's number (from 1), method and path that gives None, or what to do:

* `"cut"`: the answer breaks off in the middle of its body
* `"drop"`: the server does its work, and the answer is lost
* `"refuse"`: the connection is closed before the server is asked
* `"half"`: the connection breaks off, on both sides, when half of the request's body was sent
* `"slow"`: the answer begins after more time than the client waits
* a number: an answer with this status in place of the server's
* `(status, code)`: likewise, with this error code
* a function: it gets status, headers and body of the server's answer, and gives what the client gets
"""

import contextlib
import http.client
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ERROR = "<Error><Code>{}</Code><Message>by the proxy</Message></Error>"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.seen.append((self.command, self.path))
            number = len(self.server.seen)
        what = self.server.inject(number, self.command, self.path)
        if what == "refuse":
            self._close()
        elif what == "half":
            self._send_half(body)
            self._close()
        elif isinstance(what, (int, tuple)):
            status, code = what if isinstance(what, tuple) else (what, "SlowDown")
            self._answer(status, {}, ERROR.format(code).encode())
        else:
            answer = self._ask(body)
            if callable(what):
                self._answer(*what(*answer))
            elif what == "drop":
                self._close()
            elif what == "slow":
                time.sleep(self.server.patience)
                self._close()
            else:
                self._answer(*answer, cut=what == "cut")

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle

    def _ask(self, body):
        with self._passed_on(body) as connection:
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def _send_half(self, body):
        with self._passed_on(body[: len(body) // 2]):
            time.sleep(0.05)  # until the server reads

    @contextlib.contextmanager
    def _passed_on(self, body):
        host = urlsplit(self.server.behind)
        connection = http.client.HTTPConnection(host.hostname, host.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect":
                    connection.putheader(name, value)
            connection.endheaders(body)
            yield connection
        finally:
            connection.close()

    def _answer(self, status, headers, body, *, cut=False):
        self.send_response_only(status)
        size = headers.pop("Content-Length", None) if self.command == "HEAD" else str(len(body))
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", size or "0")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client has had enough
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._close()

    def _close(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def proxy_before(behind, inject=lambda *_: None, patience=1.0):
    """A proxy before the server at `behind`; gives its URL, and itself: `seen` has the requests, `inject` may be changed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.behind, server.inject, server.patience = behind, inject, patience
    server.seen, server.lock = [], threading.Lock()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def times(count, what, method, part=""):
    """An injected error of the first `count` requests with this method and a path that holds `part`."""
    left = [count]

    def inject(_number, each, path):
        if each == method and part in path and left[0]:
            left[0] -= 1
            return what
        return None

    return inject
