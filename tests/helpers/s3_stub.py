"""Object stores that break their promise: a small server that speaks as much S3 as the probe needs. `kind` says how it lies.

* `honest`: one winner
* `overwrites`: answers 200 to every create, the last one stays (as s3rver 3)
* `all win`: refuses a create that comes later, not one that comes at the same time (as radosgw 16)
* `wrong bytes`: one winner, but a loser's bytes stay
* `nobody`: refuses every create
"""

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PRECONDITION = b"<Error><Code>PreconditionFailed</Code><Message>taken</Message></Error>"
LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated></ListBucketResult>'


class Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "Pretender/1.0", ""
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.path = self.path.partition("?")[0]
        kept, lock, kind = self.server.kept, self.server.lock, self.server.kind
        seen = self.path in kept
        if kind == "all win":
            time.sleep(0.05)  # until all have looked
        with lock:
            taken = self.path in kept
            if kind == "nobody" or (kind == "all win" and seen) or (kind in {"honest", "wrong bytes"} and taken):
                if kind == "wrong bytes":
                    kept[self.path] = data
                self._answer(412, PRECONDITION)
                return
            kept[self.path] = data
        self._answer(200)

    def do_GET(self):
        if "list-type=2" in self.path:
            self._answer(200, LISTING)
        elif self.path.partition("?")[0] in self.server.kept:
            self._answer(200, self.server.kept[self.path.partition("?")[0]])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_HEAD(self):
        self._answer(200 if self.path in self.server.kept else 404)

    def do_DELETE(self):
        self.server.kept.pop(self.path.partition("?")[0], None)
        self._answer(204)

    def _answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def store_that(kind):
    """A server of this kind; gives its URL and what it keeps (path → bytes)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.kind, server.kept, server.lock = kind, {}, threading.Lock()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
