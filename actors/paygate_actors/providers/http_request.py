"""Writes a request as bytes, or refuses to: what is not plainly one request is none."""

import re
from collections.abc import Mapping
from typing import Final

from yarl import URL

_METHOD: Final = re.compile(r"[A-Z]+")
# Visible letters: a blank or a line's end would make another request of it. No fragment: it is
# never sent.
_TARGET: Final = re.compile(r'/[!"$-~]*')
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What frames the request, and whom it is for, is not the caller's to say.
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_DEFAULTS: Final = {
    "accept": "Accept: application/json",
    "accept-encoding": "Accept-Encoding: identity",
    "user-agent": "User-Agent: paygate",
}
_WITH_BODY: Final = _DEFAULTS | {"content-type": "Content-Type: application/octet-stream"}
_LENGTHLESS: Final = frozenset({"GET", "HEAD"})


class Unwritable(ValueError):
    """A caller's mistake: what it asks for cannot be written as one request."""


class RequestWriter:
    """Writes requests to one provider. Raises `ValueError` for a URL without a host."""

    def __init__(self, url: URL) -> None:
        if not url.raw_host:
            raise ValueError("a provider's url must have a host")
        self._prefix = url.raw_path.rstrip("/")
        self._host = f"Host: {url.host_port_subcomponent}"

    def write(
        self, method: str, path: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> bytes:
        """Give all bytes of it. `path` is percent-encoded. Raises `Unwritable`."""
        target = self._prefix + path or "/"
        if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target):
            raise Unwritable("method or path")
        unsaid = dict(_DEFAULTS if body is None else _WITH_BODY)
        lines = [f"{method} {target} HTTP/1.1", self._host]
        for name, value in headers.items() if headers else ():
            lower = name.lower()
            if lower in _OURS or not _NAME.fullmatch(name):
                raise Unwritable("a header's name")
            unsaid.pop(lower, None)
            lines.append(f"{name}: {value}")
        lines += unsaid.values()
        if body is not None or method not in _LENGTHLESS:
            lines.append(f"Content-Length: {len(body or b'')}")
        head = "\r\n".join(lines)
        ends = len(lines) - 1
        if head.count("\n") != ends or head.count("\r") != ends or "\0" in head:
            raise Unwritable("a header's value")
        try:
            return b"%b\r\n\r\n%b" % (head.encode(), body or b"")
        except UnicodeEncodeError as error:
            raise Unwritable("a header's value") from error
