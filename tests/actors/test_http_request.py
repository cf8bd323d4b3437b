"""What goes over the wire for a request, byte for byte."""

import pytest
from yarl import URL

from paygate_actors.providers.http_request import RequestWriter, Unwritable

ALWAYS = b"Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: paygate\r\n"


def writer(url: str = "https://api.example") -> RequestWriter:
    return RequestWriter(URL(url, encoded=True))


def test_a_body_comes_with_its_length_and_the_callers_headers_before_ours():
    headers = {"content-type": "application/json", "X-Name": "Zoë", "ACCEPT": "*/*"}

    assert writer().write("POST", "/charges", headers, b'{"a":"\n"}') == (
        b"POST /charges HTTP/1.1\r\nHost: api.example\r\n"
        b"content-type: application/json\r\nX-Name: Zo\xc3\xab\r\nACCEPT: */*\r\n"
        b"Accept-Encoding: identity\r\nUser-Agent: paygate\r\nContent-Length: 9\r\n\r\n"
        b'{"a":"\n"}'
    )


@pytest.mark.parametrize(
    ("method", "body", "end"),
    [
        ("GET", None, b""),
        ("HEAD", None, b""),
        ("POST", None, b"Content-Length: 0\r\n"),
        ("DELETE", None, b"Content-Length: 0\r\n"),
        ("POST", b"", b"Content-Type: application/octet-stream\r\nContent-Length: 0\r\n"),
    ],
)
def test_what_has_no_body_says_so_where_one_could_be(method: str, body: bytes | None, end: bytes):
    start = f"{method} / HTTP/1.1\r\nHost: api.example\r\n".encode()

    assert writer().write(method, "", None, body) == start + ALWAYS + end + b"\r\n"


@pytest.mark.parametrize(
    ("url", "path", "target", "host"),
    [
        ("https://api.example/", "/a", "/a", "api.example"),
        ("https://api.example:443", "/a", "/a", "api.example"),
        ("http://api.example:443/v1/", "/a?b=%2F", "/v1/a?b=%2F", "api.example:443"),
        ("https://[::1]:8443/x", "/a", "/x/a", "[::1]:8443"),
        ("https://name:secret@api.example", "/a", "/a", "api.example"),
    ],
)
def test_host_and_target_are_those_of_the_url(url: str, path: str, target: str, host: str):
    head = writer(url).write("GET", path, None, None)

    assert head == f"GET {target} HTTP/1.1\r\nHost: {host}\r\n".encode() + ALWAYS + b"\r\n"


@pytest.mark.parametrize("path", ["a", "/ ", "/\t", "/\n", "/ä", "/#a", "/\x7f", "//\r"])
def test_a_path_that_is_not_encoded_is_not_written(path: str):
    with pytest.raises(Unwritable):
        writer().write("GET", path, None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "a"),
        ("a b", "a"),
        ("a:", "a"),
        ("ä", "a"),
        ("Host", "elsewhere"),
        ("CONTENT-LENGTH", "1"),
        ("Connection", "upgrade"),
        ("X", "a\r"),
        ("X", "a\n b"),
        ("X", "\ud800"),
    ],
)
def test_a_header_that_could_say_something_else_is_not_written(name: str, value: str):
    with pytest.raises(Unwritable):
        writer().write("GET", "/", {name: value}, None)


@pytest.mark.parametrize("url", ["https://", "nonsense", "/path"])
def test_a_url_without_a_host_is_refused(url: str):
    with pytest.raises(ValueError, match="host"):
        writer(url)
