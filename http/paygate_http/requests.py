"""Reads what every request has: its id, its body as JSON, its headers."""

import re
from email.message import Message
from functools import lru_cache

from paygate_actors.card_checks import looks_like_card_number
from paygate_http.bodies import IDEMPOTENCY_KEY_MAX
from paygate_http.incoming import Incoming
from paygate_http.problems import Problem
from paygate_http.validation import Faults

# RFC 7240's `wait`: beyond half a minute proxies on the way give up first.
WAIT_S_MAX = 30

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_WAIT = re.compile(r'wait\s*=\s*(?:"0*([0-9]+)"|0*([0-9]+))', re.IGNORECASE)


def sane_request_id(request: Incoming) -> str | None:
    """Give the caller's request id where it is short, plain and no card number; else None."""
    given = request.headers.get("X-Request-ID")
    if given is None or _REQUEST_ID.fullmatch(given) is None:
        return None
    # It goes into every answer and line of log.
    return None if looks_like_card_number(given) else given


async def read_json(request: Incoming, *, may_be_empty: bool = False) -> bytes:
    """Read a body of JSON; an empty one is `{}` where it may be, and needs no type then.

    Raises `Problem`: `unsupported_media_type`, `body_too_large`, `request_timeout`.
    """
    typed = _is_plain_json(request)
    if not typed and not may_be_empty:
        raise _untyped()
    body = await request.body()
    if body and not typed:
        raise _untyped()
    return body or (b"{}" if may_be_empty else b"")


def _is_plain_json(request: Incoming) -> bool:
    headers = request.headers
    encoding = headers.get("Content-Encoding", "identity").lower()
    return encoding == "identity" and _is_json_type(headers.get("Content-Type", ""))


@lru_cache(maxsize=64)
def _is_json_type(given: str) -> bool:
    """Whether a Content-Type names JSON in UTF-8; nearly all requests send one of two."""
    message = Message()
    message["Content-Type"] = given
    charset = message.get_content_charset("utf-8")
    return message.get_content_type() == "application/json" and charset in ("utf-8", "utf8")


def _untyped() -> Problem:
    detail = "Send the body as Content-Type: application/json, in UTF-8, not compressed."
    return Problem("unsupported_media_type", detail)


def idempotency_key(request: Incoming, in_body: str | None, faults: Faults) -> str | None:
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


def preferred_wait_s(request: Incoming) -> int | None:
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
