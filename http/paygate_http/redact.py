"""Keeps card data and keys out of the log: by the name of a field, and by what looks like a card.

A net below the sealed types, not instead of them: it catches what a library or an exception says.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, cast

from paygate_actors.card import check_digit_fits

REDACTED: Final = "[redacted]"

# Compared without case, dashes and underscores, anywhere in the name of a field.
_SECRET_NAMES: Final = (
    "cardnumber",
    "cvv",
    "cvc",
    "authorization",
    "apikey",
    "secret",
    "password",
    "pepper",
    "cookie",
    "token",
)
# As deep as anything that we log; what lies deeper is not shown.
_DEPTH_MAX: Final = 6

# 13 to 19 digits with anything but letters between them, as cards are printed. No brand begins
# with 0 or 1, but the microseconds of a timestamp do.
_DIGITS = re.compile(r"(?<![0-9A-Za-z])[2-9](?:[ .\-]?[0-9]){12,18}(?![0-9A-Za-z])")
_SEPARATORS = re.compile(r"[ .\-]")
_BEARER = re.compile(r"(?i)\b(bearer +)\S+|\bsk_[A-Za-z0-9_]+|\bwhsec_[A-Za-z0-9+/=]+")
# The password of a URL, as a driver may repeat it when it cannot connect.
_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s@]+@")

# In a text, as in a field: a CVV is known by its name alone.
_NAMED_CVV = re.compile(r"(?i)\b(cvv2?|cvc2?|csc)(\W{1,5})[0-9]{3,4}\b")


def redact(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact one event: a processor of structlog's, to run just before the renderer."""
    return {name: _value(name, value, 0) for name, value in event.items()}


def redact_text(text: str) -> str:
    """Replace card numbers, named CVVs, bearer tokens, secrets and URLs' passwords in free text."""
    without = _URL_PASSWORD.sub(rf"\1{REDACTED}@", _BEARER.sub(REDACTED, text))
    without = _NAMED_CVV.sub(rf"\1\2{REDACTED}", without)
    return _DIGITS.sub(_unless_harmless, without)


def _unless_harmless(match: re.Match[str]) -> str:
    return REDACTED if check_digit_fits(_SEPARATORS.sub("", match[0])) else match[0]


def _value(name: str, value: Any, depth: int) -> Any:
    plain = name.lower().replace("_", "").replace("-", "")
    if any(secret in plain for secret in _SECRET_NAMES):
        return REDACTED
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        text = str(value)
        return value if redact_text(text) == text else REDACTED
    if isinstance(value, Mapping) and depth < _DEPTH_MAX:
        entries = cast("Mapping[Any, Any]", value)
        return {
            redact_text(str(key)): _value(str(key), each, depth + 1)
            for key, each in entries.items()
        }
    if isinstance(value, list | tuple) and depth < _DEPTH_MAX:
        return [_value("", each, depth + 1) for each in cast("list[Any]", value)]
    return redact_text(value if isinstance(value, str) else repr(cast("object", value)))
