"""Pictures behind a URL: what is fetched, and where it ends."""

import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from support.picture_server import picture_server, raw_server

from npconv import ImageError, InputError
from npconv.images import asking, open_image, remote
from npconv.images.remote import fetch


def png(size=(20, 10)):
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    paths = ("/a.png", "/a%20b.png", "/%C3%A4.png", "/unannounced", "/slow", "/cut")
    with picture_server({path: png() for path in paths}) as server:
        yield server


def test_a_url_gives_the_content_of_the_file(server):
    stream = fetch(f"{server.url}/a.png")
    assert stream.read() == png()
    assert stream.name == f"{server.url}/a.png"
    assert server.agents[0].startswith("npconv/")
    assert fetch(f"{server.url}/unannounced").read() == png()
    assert fetch(f"{server.url}/a%20b.png").read() == fetch(f"{server.url}/a b.png").read() == png()
    assert fetch(f"{server.url}/ä.png").read() == png()


def test_an_answer_that_is_closed_is_closed_through_and_through():
    raw = io.BytesIO(b"abc")
    reader = asking._TimedReader(None, raw, None)
    assert reader.readable()
    reader.close()
    assert reader.closed
    assert raw.closed


def test_redirects_lead_to_http_only(server, tmp_path):
    server.redirects = {"/here": "/a.png", "/there": f"{server.url}/here", "/round": "/round"}
    assert fetch(f"{server.url}/there").read() == png()
    (tmp_path / "secret.png").write_bytes(png())
    for place in (f"file://{tmp_path}/secret.png", "ftp://127.0.0.1/a.png", "data:image/png;base64,AAAA"):
        server.redirects["/away"] = place
        with pytest.raises(ImageError, match="/away: cannot be fetched") as caught:
            fetch(f"{server.url}/away")
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="cannot be fetched"):
        fetch(f"{server.url}/round")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("{}/missing.png", r"missing\.png: cannot be fetched \(HTTP 404 Not Found\); check the URL"),
        ("http://127.0.0.1:1/a.png", r"cannot be fetched \(Connection refused\)"),
        ("http://127.0.0.1:port/a.png", "cannot be fetched"),
        ("http://", "cannot be fetched"),
        ("http://[/a.png", "cannot be fetched"),
        ("ftp://127.0.0.1/a.png", "cannot be fetched"),
        ("file:///etc/passwd", "cannot be fetched"),
    ],
)
def test_what_cannot_be_fetched_is_an_error_of_one_line(server, url, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        fetch(url.format(server.url))
    assert "\n" not in str(caught.value)


def test_size_is_bounded_announced_or_not(server, monkeypatch):
    monkeypatch.setattr(remote, "MAX_FETCHED", len(png()))
    assert fetch(f"{server.url}/unannounced").read() == png()
    monkeypatch.setattr(remote, "MAX_FETCHED", len(png()) - 1)
    for path in ("/a.png", "/unannounced"):
        with pytest.raises(ImageError, match=f"larger than the limit of {len(png()) - 1} bytes"):
            fetch(f"{server.url}{path}")


def test_a_file_that_ends_too_early_is_no_picture(server):
    server.lengths["/cut"] = len(png()) + 7
    with pytest.raises(ImageError, match=rf"the connection ended after {len(png())} of {len(png()) + 7} bytes"):
        fetch(f"{server.url}/cut")


def test_time_is_bounded_with_a_silent_server_and_a_slow_one(server):
    server.files["/slow"] = bytes(10**6)  # in a thousand parts, a twentieth of a second each
    for path in ("/silent", "/slow"):
        with pytest.raises(ImageError, match=r"not whole after 0\.2 seconds; timeout= says how many"):
            fetch(f"{server.url}{path}", timeout=0.2)


@pytest.mark.parametrize(
    ("head", "more", "pause"),
    [
        (b"", b"H", 0.02),
        (b"HTTP/1.1 200 OK\r\n", b"a", 0.02),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", 0.02),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", 0.0),
        (b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n", b"x" * 2**16, 0.0),
    ],
    ids=["status", "header", "interim answers", "length of a chunk", "trailers", "content of a redirect"],
)
def test_nothing_that_a_server_sends_for_ever_keeps_a_fetch(monkeypatch, head, more, pause):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    caught = []

    def fetch_it():
        with pytest.raises(ImageError, match="cannot be fetched") as error:
            fetch(f"{url}/a.png", timeout=0.3)
        caught.append(str(error.value))

    with raw_server(head, more, pause) as url:
        thread = threading.Thread(target=fetch_it, daemon=True)  # which a failure leaves behind
        thread.start()
        thread.join(20)
    assert caught, "the fetch goes on"
    assert "\n" not in caught[0]


def test_a_password_in_a_url_is_sent_to_its_host_alone_and_never_shown(server):
    server.redirects = {"/away": f"{server.url.replace('127.0.0.1', 'localhost')}/a.png"}
    url = server.url.replace("://", "://ann:pass%20word@")
    stream = fetch(f"{url}/a.png")
    assert server.headers[-1]["Authorization"] == "Basic YW5uOnBhc3Mgd29yZA=="
    assert fetch(f"{url}/away").read() == png()
    assert "Authorization" in server.headers[-2]
    assert "Authorization" not in server.headers[-1]
    with pytest.raises(ImageError, match="HTTP 404") as caught:
        fetch(f"{url}/missing.png")
    assert "word" not in f"{caught.value} {stream.name}"
    for path in (f"{url}/a.png", "http://ann:password@127.0.0.1:port/a.png"):
        with pytest.raises(ImageError, match="127") as caught:
            open_image(path)
        assert "word" not in str(caught.value)


def test_a_host_may_have_a_name_that_is_not_ascii(monkeypatch):
    asked = []

    def nobody(address, *_, **__):
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", nobody)
    for url in ("http://bücher.example:81/ä.png", "https://☃.example/a.png"):
        with pytest.raises(ImageError, match="cannot be fetched"):
            fetch(url)
    assert asked == [("xn--bcher-kva.example", 81), ("xn--n3h.example", 443)]


@pytest.mark.parametrize("timeout", [0, -1, "5", True, float("inf"), float("nan")])
def test_a_timeout_is_a_number_of_seconds(timeout):
    with pytest.raises(InputError, match="expected timeout as a number of seconds above 0"):
        fetch("http://127.0.0.1/a.png", timeout)


def test_only_pipelines_fetch():
    with pytest.raises(ImageError, match=r"URLs are not fetched; .*, or a pipeline the URL"):
        open_image("http://127.0.0.1/a.png")


def test_nothing_of_the_network_is_loaded_before_it_is_asked_for():
    import subprocess

    code = "import npconv.images.remote, sys; assert not {'urllib.request', 'http.client', 'ssl'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
