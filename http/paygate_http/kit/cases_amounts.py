"""Amounts: exactly or not at all, in currencies that count otherwise than dollars do."""

from typing import Final

from paygate_actors.money import Money
from paygate_actors.outcomes import Approved
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.verdicts import Chapter, expect
from paygate_http.kit.wording import told

CHAPTER: Chapter[Stand] = Chapter("Amounts", "amounts")

_case = CHAPTER.case

# No bank issues cards in it; ISO 4217 keeps it for tests.
_NO_CURRENCY: Final = "XTS"
# Of these, and of whatever has terms of its own, a few of each kind are tried.
_QUIRKS_MAX: Final = 6


@_case("Yen have no decimals: 1000 minor units are 1000 yen.")
async def yen(stand: Stand) -> None:
    """JPY."""
    await _taken_exactly(stand, Money(SUM, "JPY"))


@_case("Kuwaiti dinars have three decimals, or as many of them as the provider can write.")
async def dinars(stand: Stand) -> None:
    """KWD."""
    terms = stand.capabilities.currency_terms.get("KWD", stand.capabilities.other_terms)
    await _taken_exactly(stand, Money(12_345_000 // terms.multiple_of * terms.multiple_of, "KWD"))


@_case("A whole multiple of what a currency is counted in is taken exactly.")
async def quirks_taken(stand: Stand) -> None:
    """Each kind of currency that the provider counts otherwise."""
    for currency, step in _quirks(stand):
        terms = stand.capabilities.currency_terms[currency]
        least = max(terms.minor_min, SUM)
        await _taken_exactly(stand, Money(-(-least // step) * step, currency))


@_case("What is no whole multiple is refused before anything leaves, and never rounded.")
async def quirks_refused(stand: Stand) -> None:
    """One minor unit beside what can be written."""
    for currency, step in _quirks(stand):
        await _refused_here(stand, Money(1_000 * step + 1, currency))


@_case("A currency that counts otherwise than ISO 4217 says is written and read alike.")
async def zero_decimals(stand: Stand) -> None:
    """ISK, UGX, CLP, CVE and IDR: minor units of ours, units of theirs."""
    taken = [
        each
        for each in ("ISK", "UGX", "CLP", "CVE", "IDR")
        if _takes(stand, Money(_suitable(stand, each), each))
    ]
    stand.needs(bool(taken), "takes none of them")
    for currency in taken:
        await _taken_exactly(stand, Money(_suitable(stand, currency), currency))


@_case("A part of a sum in yen is refunded to the yen.")
async def yen_back(stand: Stand) -> None:
    """JPY, given back."""
    amount = Money(SUM, "JPY")
    stand.needs(_takes(stand, amount), "takes no JPY")
    _, charged = await stand.charged(amount=amount)

    back = await stand.done("refund", stand.follow(charged, 1))

    expect(back.amount == Money(1, "JPY"), f"it was answered {told(back)}")


@_case("The least amount is taken, in the currency that everybody tries first.")
async def least(stand: Stand) -> None:
    """The lower bound."""
    terms = stand.capabilities.currency_terms.get(stand.currency, stand.capabilities.other_terms)
    await _taken_exactly(stand, stand.money(max(1, terms.minor_min)))


@_case("A large amount is taken to the last minor unit.")
async def large(stand: Stand) -> None:
    """99,999,999.99, or whatever the provider's bound is: digits that a float would still hold."""
    terms = stand.capabilities.currency_terms.get(stand.currency, stand.capabilities.other_terms)
    await _taken_exactly(stand, stand.money(min(9_999_999_999, terms.minor_max)))


@_case("More than the provider's bound is refused before anything leaves.")
async def too_large(stand: Stand) -> None:
    """The upper bound, and one unit more."""
    terms = stand.capabilities.currency_terms.get(stand.currency, stand.capabilities.other_terms)
    stand.needs(terms.minor_max < 10**15, "names no bound")
    amount = stand.money(terms.minor_max + 1)

    expect(not _takes(stand, amount), "the capabilities take more than they say")


@_case("A currency that the provider does not take is refused before anything leaves.")
async def no_such_currency(stand: Stand) -> None:
    """XTS, which is kept for tests."""
    stand.needs(stand.capabilities.currencies is not None, "takes every currency, as it says")
    await _refused_here(stand, Money(SUM, _NO_CURRENCY))


def _takes(stand: Stand, amount: Money) -> bool:
    return stand.capabilities.takes(amount)


def _suitable(stand: Stand, currency: str) -> int:
    terms = stand.capabilities.currency_terms.get(currency, stand.capabilities.other_terms)
    least = max(terms.minor_min, 5_000)
    return min(-(-least // terms.multiple_of) * terms.multiple_of, terms.minor_max)


def _quirks(stand: Stand) -> list[tuple[str, int]]:
    """Currencies whose amounts are multiples of something, some of each something."""
    terms = stand.capabilities.currency_terms
    found = sorted(
        (each.multiple_of, currency) for currency, each in terms.items() if each.multiple_of > 1
    )
    stand.needs(bool(found), "counts every currency in its minor units")
    return [(currency, step) for step, currency in found[:_QUIRKS_MAX]]


async def _taken_exactly(stand: Stand, amount: Money) -> None:
    stand.needs(_takes(stand, amount), f"takes no {amount.minor} {amount.currency}")
    call = stand.call(amount=amount)

    await stand.done("charge", call)

    if stand.has_desk:
        booked = [each.minor for each in await stand.effects(call.key)]
        expect(booked == [amount.minor], f"the books have {booked} for {amount.minor}")


async def _refused_here(stand: Stand, amount: Money) -> None:
    expect(not _takes(stand, amount), f"the capabilities take {amount.minor} {amount.currency}")
    await stand.warm()
    before = len(stand.tap.moving)
    call = stand.call(amount=amount)

    outcome = await stand.once("charge", call)

    expect(not isinstance(outcome, Approved), f"it was answered {told(outcome)}")
    expect(len(stand.tap.moving) == before, "something left for the provider")
