"""How a server is asked for what a URL names: http and https alone, and all of it in a bounded time.

This module loads ``urllib.request`` and ``http.client``, which takes a while; ``remote`` imports it when a URL comes.
"""

from __future__ import annotations

import base64
import io
import string
import time
from http.client import HTTPResponse
from typing import Any
from urllib import request
from urllib.parse import quote, unquote, urlsplit

from npconv._version import __version__


class Deadline:
    """The end of a number of seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; a `TimeoutError` if none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not whole after {self._seconds:g} seconds; timeout= says how many")
        return left


def open_url(url: str, deadline: Deadline) -> Any:
    """Return the answer of the server, open for reading.

    Raises
    ------
    OSError, ValueError, http.client.HTTPException
        If there is none, or it takes too long.
    """
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.UnknownHandler(),
        _HTTPHandler(deadline),
        _HTTPSHandler(deadline),
        request.HTTPDefaultErrorHandler(),
        _RedirectHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener.open(_request(url))


def _request(url: str) -> request.Request:
    """Return what asks for a URL: its host in ASCII, its user and password in a header."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    if not host.isascii():
        name, colon, port = host.partition(":")
        host = f"{name.encode('idna').decode('ascii')}{colon}{port}"
    plain = quote(parts._replace(netloc=host, fragment="").geturl(), safe=string.punctuation)
    asking = request.Request(plain, headers={"User-Agent": f"npconv/{__version__}"})
    if user:  # not sent to where a redirect leads
        secret = base64.b64encode(unquote(user).encode()).decode("ascii")
        asking.add_unredirected_header("Authorization", f"Basic {secret}")
    return asking


class _RedirectHandler(request.HTTPRedirectHandler):
    """Follows redirects; what opens URLs here knows http and https alone, so that no server can name a file."""

    def redirect_request(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request:
        """Return what asks for the place that a redirect names."""
        fp.close()  # its content would be read otherwise, to its end if it has one
        return _request(newurl)


class _TimedHandler(request.AbstractHTTPHandler):
    """Asks by connections that end in time."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def do_open(self, http_class: Any, req: request.Request, **arguments: Any) -> Any:
        """Return the answer to a request."""
        return super().do_open(_in_time(http_class, self._deadline), req, **arguments)


class _HTTPHandler(_TimedHandler, request.HTTPHandler):
    """Asks by http."""


class _HTTPSHandler(_TimedHandler, request.HTTPSHandler):
    """Asks by https."""


def _in_time(http_class: Any, deadline: Deadline) -> Any:
    """Return what makes connections of a class whose every step is over at the deadline."""

    def answer(sock: Any, *args: Any, **kwargs: Any) -> HTTPResponse:
        response = HTTPResponse(sock, *args, **kwargs)
        response.fp = io.BufferedReader(_TimedReader(sock, response.fp.detach(), deadline))
        return response

    def connection(host: str, **arguments: Any) -> Any:
        made = http_class(host, **{**arguments, "timeout": deadline.left()})
        made.response_class = answer
        return made

    return connection


class _TimedReader(io.RawIOBase):
    """What comes from a socket. Its own timeout begins anew with each byte, so that a slow server would never end."""

    def __init__(self, sock: Any, raw: Any, deadline: Deadline) -> None:
        super().__init__()
        self._sock, self._raw, self._deadline = sock, raw, deadline

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, or wait for it while there is time."""
        self._sock.settimeout(self._deadline.left())
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            self._deadline.left()  # says so in words that help
            raise
        return count

    def close(self) -> None:
        """Close the socket's file, too."""
        self._raw.close()
        super().close()
