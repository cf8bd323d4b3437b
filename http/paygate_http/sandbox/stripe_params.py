"""Stripe's parameters, checked, and the words of those that are refused."""

from typing import Final

from paygate_http.sandbox.stripe_errors import StripeTrouble
from paygate_http.sandbox.stripe_form import Fields, table, text
from paygate_http.sandbox.stripe_money import AmountRefused, minor_of

BAD: Final = 400
PAYMENT_FAILED: Final = 402
BROKEN: Final = 500
FULL: Final = 503

_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429

# Stripe's bounds for metadata.
_METADATA_MAX: Final = 50
_METADATA_NAME_MAX: Final = 40
_METADATA_VALUE_MAX: Final = 500
# More digits than any amount or year has.
_DIGITS_MAX: Final = 12


def missing(kind: str, id_: str) -> StripeTrouble:
    """Give Stripe's 404 for an object that is not there."""
    shown = id_[:_METADATA_NAME_MAX]
    return StripeTrouble(
        _NOT_FOUND, f"No such {kind}: '{shown}'", code="resource_missing", param=kind
    )


def checked(units: int, currency: str) -> int:
    """Give the minor units of an amount. Raises `StripeTrouble`."""
    try:
        return minor_of(units, currency)
    except AmountRefused as refused:
        param = "amount" if refused.code else "currency"
        raise StripeTrouble(BAD, str(refused), code=refused.code or None, param=param) from refused


def required(fields: Fields, name: str) -> str:
    """Give a parameter that must be there. Raises `StripeTrouble`."""
    found = text(fields, name)
    if not found:
        raise missing_parameter(name)
    return found


def integer(fields: Fields, *path: str) -> int | None:
    """Give a number, None where there is none. Raises `StripeTrouble`."""
    found = text(fields, *path)
    if found is None:
        return None
    if not found.isascii() or not found.isdecimal() or len(found) > _DIGITS_MAX:
        raise StripeTrouble(
            BAD, f"Invalid integer: {path[-1]}", code="parameter_invalid_integer", param=path[-1]
        )
    return int(found)


def metadata(fields: Fields) -> dict[str, str]:
    """Give the metadata within Stripe's bounds. Raises `StripeTrouble`."""
    found = table(fields, "metadata")
    if len(found) > _METADATA_MAX:
        raise bad_parameter("metadata", "Metadata can have up to 50 keys.")
    for name, value in found.items():
        if len(name) > _METADATA_NAME_MAX or len(value) > _METADATA_VALUE_MAX:
            raise bad_parameter("metadata", "Metadata names have up to 40 characters, values 500.")
    return found


def missing_parameter(name: str) -> StripeTrouble:
    """Give the no to a call that lacks a parameter."""
    message = f"Missing required param: {name}."
    return StripeTrouble(BAD, message, code="parameter_missing", param=name)


def bad_parameter(name: str, message: str) -> StripeTrouble:
    """Give the no to a parameter that is not taken."""
    return StripeTrouble(BAD, message, code="parameter_unknown", param=name)


def busy() -> StripeTrouble:
    """Give the no to a call that finds another one at work."""
    message = "This object cannot be accessed right now: another request is working on it."
    return StripeTrouble(_TOO_MANY, message, code="lock_timeout")


def broken(status: int) -> StripeTrouble:
    """Give Stripe's own failure; a 500 is kept under its key, as in life."""
    message = "Something went wrong on our end."
    return StripeTrouble(status, message, type_="api_error", kept=status == BROKEN)
