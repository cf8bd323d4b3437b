"""Reads the query of a list: filters, times, limit and cursor, all faults at once."""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from msgspec import UNSET

from paygate_actors.messages import Filters, PaymentStatus, TransactionStatus, TransactionType
from paygate_actors.money import UnknownCurrency, exponent
from paygate_actors.outbox import DELIVERY_STATUSES
from paygate_http.incoming import Incoming
from paygate_http.route import Parameter
from paygate_http.validation import Faults
from paygate_http.wire import parse_time

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100
TEXT_MAX: Final = 500
# Ours are shorter; a longer one was made by somebody else.
CURSOR_MAX: Final = 1_024

# A reader gives UNSET for a value that it does not take.
Reader = Callable[[str], Any]


def _one_of(values: tuple[str, ...]) -> Reader:
    return lambda text: text if text in values else UNSET


def _text(text: str) -> Any:
    return text if 0 < len(text) <= TEXT_MAX and text.isprintable() else UNSET


def _time(text: str) -> Any:
    at_us = parse_time(text)
    return UNSET if at_us is None else at_us


def _limit(text: str) -> Any:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LIMIT_MAX))):
        return UNSET
    return int(text) if 1 <= int(text) <= LIMIT_MAX else UNSET


def _cursor(text: str) -> Any:
    fits = 0 < len(text) <= CURSOR_MAX and text.isascii() and text.isprintable()
    return text if fits else UNSET


def _currency(text: str) -> Any:
    try:
        exponent(text)
    except UnknownCurrency:
        return UNSET
    return text


class Filter:
    """A parameter of a list: how it is read, into which field, and how it is described."""

    __slots__ = ("detail", "field", "parameter", "read")

    def __init__(
        self, name: str, field: str, read: Reader, detail: str, schema: Mapping[str, Any]
    ) -> None:
        self.field = field
        self.read = read
        self.detail = detail
        self.parameter = Parameter(
            name=name, text=detail[0].upper() + detail[1:] + ".", schema=schema
        )


def _choice(name: str, values: tuple[str, ...]) -> Filter:
    schema = {"type": "string", "enum": list(values)}
    return Filter(name, name, _one_of(values), f"must be one of {', '.join(values)}", schema)


def _free(name: str, field: str) -> Filter:
    schema = {"type": "string", "minLength": 1, "maxLength": TEXT_MAX}
    return Filter(name, field, _text, f"must be 1 to {TEXT_MAX} printable characters", schema)


_SHARED: Final = (
    _free("provider", "provider"),
    Filter(
        "from",
        "from_us",
        _time,
        "must be an RFC 3339 time, included",
        {"type": "string", "format": "date-time"},
    ),
    Filter(
        "to",
        "to_us",
        _time,
        "must be an RFC 3339 time, not included",
        {"type": "string", "format": "date-time"},
    ),
    Filter(
        "limit",
        "limit",
        _limit,
        f"must be a whole number from 1 to {LIMIT_MAX}",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    Filter(
        "cursor",
        "cursor",
        _cursor,
        "must be the nextCursor of an earlier page",
        {"type": "string", "minLength": 1, "maxLength": CURSOR_MAX},
    ),
)

PAYMENT_FILTERS: Final = (
    _choice("status", get_args(PaymentStatus)),
    _free("customerID", "customer_id"),
    _free("orderID", "order_id"),
    *_SHARED,
)
TRANSACTION_FILTERS: Final = (
    _free("paymentID", "payment_id"),
    _choice("type", get_args(TransactionType)),
    _choice("status", get_args(TransactionStatus)),
    Filter(
        "currency",
        "currency",
        _currency,
        "must be an ISO 4217 code in upper case",
        {"type": "string", "minLength": 3, "maxLength": 3},
    ),
    *_SHARED,
)


DESK_FILTERS: Final = tuple(each for each in _SHARED if each.parameter.name in ("limit", "cursor"))
AT: Final = Filter(
    "at",
    "at_us",
    _time,
    "must be an RFC 3339 time: the payment is shown as it was then",
    {"type": "string", "format": "date-time"},
)


_PAGE: Final = tuple(each for each in _SHARED if each.parameter.name in ("limit", "cursor"))
DELIVERY_FILTERS: Final = (_choice("status", DELIVERY_STATUSES), *_PAGE)
FEED_FILTERS: Final = (
    Filter(
        "after",
        "cursor",
        _cursor,
        "must be the nextCursor of an earlier page; without it, the oldest event that is kept",
        {"type": "string", "minLength": 1, "maxLength": CURSOR_MAX},
    ),
    *(each for each in _PAGE if each.parameter.name == "limit"),
)


def read_filters(request: Incoming, filters: tuple[Filter, ...]) -> Filters:
    """Read the query; unknown parameters are ignored, as unknown fields of a body are.

    Raises `Problem` (`validation_failed`) that names every parameter at fault.
    """
    return Filters(**_read(request, filters))


def read_at(request: Incoming) -> int | None:
    """Read the instant that is asked about; None: now. Raises `Problem`."""
    # Nearly all reads ask about now, and have no query.
    return _read(request, (AT,)).get("at_us") if request.query else None


def _read(request: Incoming, filters: tuple[Filter, ...]) -> dict[str, Any]:
    faults = Faults()
    values: dict[str, Any] = {}
    for each in filters:
        name = each.parameter.name
        given = request.query.getall(name, [])
        if len(given) > 1:
            faults.add_parameter(name, "duplicate_parameter", "must be given once")
        elif given:
            value = each.read(given[0])
            if value is UNSET:
                faults.add_parameter(name, "invalid_parameter", each.detail)
            values[each.field] = value
    if faults:
        raise faults.problem()
    return values
