"""A server in the layout of the Hugging Face hub, with faults on request, in a thread of the test."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

ID = "facebook/convnextv2-atto-1k-224"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin", ".h5")


class Hub:
    """What the server has, does wrong and was asked for.

    ``cuts[name]`` is a list: each number ends one connection after so many bytes of the file; ``lies[name]`` is
    sent instead of the file whose hash is announced; requests for the names in ``hangs`` are not answered; ``extra``
    are names that are listed without being there.
    """

    def __init__(self, files):
        self.files = dict(files)
        self.cuts, self.lies, self.hangs, self.extra = {}, {}, set(), []
        self.requests = []
        self.hosts, self.tokens = set(), set()  # what requests said in these headers
        self.closed = threading.Event()
        self.url = ""

    def fetched(self):
        """Return the names of files that were asked for by GET."""
        return [name for method, name, _ in self.requests if method == "GET"]


def etag(name, content):
    return (hashlib.sha256 if name.endswith(LARGE) else hashlib.sha1)(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def missing(self, code):
        self.answer(404, b'{"error": "not found"}', X_Error_Code=code, Content_Type="application/json")

    def do_GET(self):
        hub = self.server.hub
        hub.hosts.add(self.headers.get("Host"))
        hub.tokens.add(self.headers.get("Authorization"))
        path = unquote(urlsplit(self.path).path)  # a proxy is asked for a whole address
        if match := re.fullmatch(rf"/api/models/{ID}(/tree/[^/]+|/revision/[^/]+)?", path):
            listing = [*hub.files, *hub.extra]
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in listing]
            about = {"id": ID, "sha": COMMIT, "siblings": [{"rfilename": name} for name in listing]}
            content = tree if (match[1] or "").startswith("/tree") else about
            return self.answer(200, json.dumps(content).encode(), Content_Type="application/json")
        if match := re.fullmatch(rf"/{ID}/resolve/([^/]+)/(.+)", path):
            return self.send_file(match[1], match[2])
        return self.missing("RepoNotFound")

    do_HEAD = do_GET  # noqa: N815  # the name that the base class looks for

    def send_file(self, revision, name):
        hub = self.server.hub
        if revision not in ("main", COMMIT):
            return self.missing("RevisionNotFound")
        if name not in hub.files:
            return self.missing("EntryNotFound")
        wanted = self.headers.get("Range")
        hub.requests.append((self.command, name, wanted))
        if self.command == "GET" and name in hub.hangs:
            hub.closed.wait(60)
            self.close_connection = True
            return None
        content = hub.files[name]
        mark = f'"{etag(name, content)}"'
        headers = {"ETag": mark, "X_Repo_Commit": COMMIT, "X_Linked_Size": len(content), "Accept_Ranges": "bytes"}
        headers["X_Linked_Etag"] = mark
        body, status, start = hub.lies.get(name, content), 200, 0
        if wanted and self.command == "GET":
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            body, status = body[start:], 206
        if self.command == "GET" and hub.cuts.get(name):
            cut = hub.cuts[name].pop(0)
            headers["Content_Length"] = len(body)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), str(value))
            self.end_headers()
            self.wfile.write(body[: max(0, cut - start)])
            self.close_connection = True
            return None
        if self.command == "HEAD":
            headers["Content_Length"] = len(body)
        return self.answer(status, body, **headers)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Say nothing about a client that went away, or was sent away."""


@contextmanager
def serving(files):
    """Serve files as the repository `ID`; give the `Hub`."""
    hub = Hub(files)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.hub = hub
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.closed.set()
            server.shutdown()
            thread.join()
            with suppress(OSError):
                server.server_close()
