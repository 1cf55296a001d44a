"""A server of pictures in a thread of the test, with faults on request."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers as the path says: ``/redirect/...`` leads to what follows, the others are in ``server.files``."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.agents.append(self.headers.get("User-Agent"))
        self.server.headers.append(dict(self.headers))
        content = self.server.files.get(self.path)
        if self.path == "/silent":
            self.server.closed.wait()
        elif self.path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path])
            self.end_headers()
        elif content is None:
            self.send_error(404)
        else:
            self.send_response(200)
            if self.path != "/unannounced":
                self.send_header("Content-Length", str(self.server.lengths.get(self.path, len(content))))
            self.end_headers()
            for start in range(0, len(content), 1000):
                self.wfile.write(content[start : start + 1000])
                if self.path == "/slow" and self.server.closed.wait(0.05):
                    break


@contextmanager
def picture_server(files):
    """Serve contents by their paths; the server has `url`, `redirects`, `lengths` that lie, `agents` and `headers`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.redirects, server.lengths, server.agents = dict(files), {}, {}, []
    server.headers = []
    server.closed = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_server(head, more=b"", pause=0.0):
    """Answer every request with the bytes `head`, and then with `more` again and again, and give the server's address.

    `pause` is the time between two of them; without `more` the connection ends after `head`.
    """
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection):
        with connection, suppress(OSError):  # of a client that has gone
            connection.recv(2**16)
            connection.sendall(head)
            while more and not over.wait(pause):
                connection.sendall(more)

    def listen():
        with suppress(OSError):  # closed below
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
