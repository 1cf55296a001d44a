"""Pictures that a URL names: fetched by http or https, within bounds of size and time."""

from __future__ import annotations

import io
from typing import BinaryIO

from npconv.errors import ImageError, InputError
from npconv.images.decode import MAX_PIXELS, picture_name, without_password
from npconv.images.pillow import one_line
from npconv.messages import shown

#: The largest file that is fetched, in bytes: an uncompressed RGB picture of the largest size.
MAX_FETCHED = 3 * MAX_PIXELS

#: Seconds that fetching may take when nobody says how many.
TIMEOUT = 60.0

CHUNK = 2**16


def fetch(url: str, timeout: float | None = None) -> BinaryIO:
    """Fetch a picture and return the content of the file, open for reading and called by its URL.

    Parameters
    ----------
    url : str
        Of the scheme ``http`` or ``https``; with ``user:password@`` before the host for those that ask for it.
        Redirects are followed to these two schemes only; proxies are those of the environment (``HTTPS_PROXY`` and so
        on).
    timeout : float, optional
        Seconds for the whole file to come, redirects included; 60 when unset. The time in which the system looks up
        the host's address is not bounded.

    Raises
    ------
    ImageError
        If it cannot be fetched, or is larger than :data:`MAX_FETCHED`.
    InputError
        If `timeout` is no number of seconds.
    """
    import http.client  # only here, as all this takes a while to load

    name = picture_name(url)
    seconds = _check_timeout(timeout)
    try:
        content = _read(url, name, seconds)
    except ImageError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        if close := getattr(error, "close", None):  # an answer that is an error holds the connection
            close()
        raise ImageError(f"{name}: cannot be fetched ({_reason(error)}); check the URL and the network") from error
    stream = io.BytesIO(content)
    stream.name = without_password(url)
    return stream


def _read(url: str, name: str, seconds: float) -> bytes:
    """Return the content that a server gives for a URL."""
    from npconv.images.asking import Deadline, open_url

    content = bytearray()
    with open_url(url, Deadline(seconds)) as answer:
        announced = int(answer.headers.get("Content-Length") or 0)
        while announced <= MAX_FETCHED and (chunk := answer.read1(CHUNK)):
            content += chunk
            announced = max(announced, len(content))
    if announced > MAX_FETCHED:
        raise ImageError(f"{name}: larger than the limit of {MAX_FETCHED} bytes; use a smaller picture")
    if len(content) < announced:
        raise OSError(f"the connection ended after {len(content)} of {announced} bytes")
    return bytes(content)


def _reason(error: Exception) -> str:
    """Return why something could not be fetched, on one line."""
    reason = getattr(error, "reason", None) or error  # of URLError: what is behind it
    if code := getattr(error, "code", None):
        return one_line(f"HTTP {code} {reason}")
    if isinstance(reason, OSError) and reason.errno and reason.strerror:
        return one_line(reason.strerror)
    return one_line(str(reason) or type(reason).__name__)


def _check_timeout(timeout: float | None) -> float:
    """Return a number of seconds, or say what was expected."""
    if timeout is None:
        return TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        raise InputError(f"expected timeout as a number of seconds above 0, got {shown(timeout)}")
    return float(timeout)
