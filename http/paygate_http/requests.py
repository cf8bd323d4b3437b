"""Reads what every request has: its id, its body within bounds of size and time, its headers."""

import asyncio
import re

from aiohttp import HttpVersion11, web

from paygate_actors.card_checks import looks_like_card_number
from paygate_http.bodies import IDEMPOTENCY_KEY_MAX
from paygate_http.problems import Problem
from paygate_http.validation import Faults

# The largest honest payment with 50 metadata entries of 500 characters is about 30 KB.
BODY_BYTES_MAX = 65_536
# A phone on a bad line sends 64 KB in a few seconds; whoever takes longer holds a connection.
BODY_S_MAX = 10.0
# RFC 7240's `wait`: beyond half a minute proxies on the way give up first.
WAIT_S_MAX = 30

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_WAIT = re.compile(r'wait\s*=\s*(?:"0*([0-9]+)"|0*([0-9]+))', re.IGNORECASE)


def sane_request_id(request: web.BaseRequest) -> str | None:
    """Give the caller's request id where it is short, plain and no card number; else None."""
    given = request.headers.get("X-Request-ID")
    if given is None or _REQUEST_ID.fullmatch(given) is None:
        return None
    # It goes into every answer and line of log.
    return None if looks_like_card_number(given) else given


def stamp(response: web.StreamResponse, request_id: str) -> None:
    """Put on what every answer carries: the request's id, and nothing about our software."""
    headers = response.headers
    headers["X-Request-ID"] = request_id
    headers["Server"] = "paygate"
    # What is in an answer is between us and who asked: no proxy keeps it.
    headers["Cache-Control"] = "no-store"


async def read_json(request: web.Request, *, may_be_empty: bool = False) -> bytes:
    """Read a body of JSON; an empty one is `{}` where it may be, and needs no type then.

    Raises `Problem`: `unsupported_media_type`, `body_too_large`, `request_timeout`.
    """
    typed = _is_plain_json(request)
    if not typed and not may_be_empty:
        raise _untyped()
    body = await read_body(request)
    if body and not typed:
        raise _untyped()
    return body or (b"{}" if may_be_empty else b"")


async def read_body(request: web.Request) -> bytes:
    """Read the raw body, at most `BODY_BYTES_MAX` bytes in at most `BODY_S_MAX` seconds.

    Raises `Problem` before more than that is held: at once where Content-Length says so.
    """
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise _too_large()
    await _invite(request)
    if request.content.is_eof():
        # It came in one piece with its headers, as nearly all do: no deadline is set up.
        return await _read_bounded(request)
    try:
        async with asyncio.timeout(BODY_S_MAX):
            return await _read_bounded(request)
    except TimeoutError as error:
        detail = f"The body must arrive within {BODY_S_MAX:.0f} seconds."
        raise Problem("request_timeout", detail) from error


async def _invite(request: web.Request) -> None:
    """Say `100 Continue` where the client waits for it: only now is its body wanted."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.version == HttpVersion11 and not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # These bytes are no part of the response: an error may still be answered.
        request.writer.output_size = 0


async def _read_bounded(request: web.Request) -> bytes:
    body = b""
    try:
        while len(body) <= BODY_BYTES_MAX:
            chunk = await request.content.readany()
            if not chunk:
                return body
            body += chunk
    except (web.RequestPayloadError, ConnectionError) as error:
        detail = "The body broke off, or its transfer encoding is not valid."
        raise Problem("malformed_request", detail) from error
    raise _too_large()


def _is_plain_json(request: web.Request) -> bool:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    charset = request.charset or "utf-8"
    return (
        request.content_type == "application/json"
        and encoding == "identity"
        and charset.lower() in ("utf-8", "utf8")
    )


def _untyped() -> Problem:
    detail = "Send the body as Content-Type: application/json, in UTF-8, not compressed."
    return Problem("unsupported_media_type", detail)


def _too_large() -> Problem:
    return Problem("body_too_large", f"A body may have at most {BODY_BYTES_MAX} bytes.")


def idempotency_key(request: web.Request, in_body: str | None, faults: Faults) -> str | None:
    """Choose the key: the header's wins over the body's. Faults: not one, not printable ASCII."""
    given = request.headers.getall("Idempotency-Key", [])
    if len(given) > 1:
        faults.add_header(
            "Idempotency-Key", "/idempotencyKey", "duplicate_header", "must be given once"
        )
        return None
    if given and not _is_key(given[0]):
        faults.add_header("Idempotency-Key", "/idempotencyKey", *_KEY_FAULT)
    if in_body is not None and not _is_key(in_body):
        faults.add("/idempotencyKey", *_KEY_FAULT)
    return given[0] if given else in_body


_KEY_FAULT = (
    "invalid_idempotency_key",
    f"must be 1 to {IDEMPOTENCY_KEY_MAX} printable ASCII characters",
)


def _is_key(text: str) -> bool:
    return len(text) <= IDEMPOTENCY_KEY_MAX and _PRINTABLE.fullmatch(text) is not None


def applied(wait_s: int | None) -> dict[str, str]:
    """Say which wait was kept to (RFC 7240), where one was asked for."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}


def preferred_wait_s(request: web.Request) -> int | None:
    """Read `Prefer: wait=N` (RFC 7240), clamped to `WAIT_S_MAX` seconds; None: not asked for.

    A preference that cannot be read is ignored, as the RFC says; of several the first counts.
    """
    for value in request.headers.getall("Prefer", []):
        for preference in value.split(","):
            match = _WAIT.fullmatch(preference.partition(";")[0].strip())
            if match is not None:
                # A number may be as long as a header: only one of two digits is worth reading.
                seconds = match[1] or match[2]
                return WAIT_S_MAX if len(seconds) > 2 else min(int(seconds), WAIT_S_MAX)  # noqa: PLR2004
    return None
