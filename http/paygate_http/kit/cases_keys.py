"""Keys: what is asked twice under one key is done once, and one intent never gets two keys."""

import asyncio

from paygate_actors.outcomes import Approved, Declined, Unknown
from paygate_actors.providers.base import ChargeCall, FollowUpCall
from paygate_http.kit import troubles
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.verdicts import Chapter, expect
from paygate_http.kit.wording import Verb, told

CHAPTER: Chapter[Stand] = Chapter("Keys", "keys")

_case = CHAPTER.case

# Enough to meet each other at any provider, few enough for any rate limit.
_AT_ONCE = 5
# The gateway's own keys: `<transaction>-<attempt>`, with room for four digits of attempts.
_OUR_KEY_LENGTH = 35


@_case("The same charge again is done once and answered alike.")
async def same_charge(stand: Stand) -> None:
    """Send a charge twice."""
    call, first = await stand.charged()

    await _same_again(stand, "charge", call, first)
    await stand.expect_effects([call], "charge")


@_case("The same hold again is done once and answered alike.")
async def same_hold(stand: Stand) -> None:
    """Send a hold twice."""
    call, first = await stand.charged(capture=False)

    await _same_again(stand, "authorize", call, first)
    await stand.expect_effects([call], "authorize")


@_case("The same capture again is done once and answered alike.")
async def same_capture(stand: Stand) -> None:
    """Send a capture twice."""
    _, held = await stand.charged(capture=False)
    follow = stand.follow(held, SUM)
    first = await stand.done("capture", follow)

    await _same_again(stand, "capture", follow, first)
    await stand.expect_effects([follow], "capture")


@_case("The same refund again is done once and answered alike.")
async def same_refund(stand: Stand) -> None:
    """Send a refund of a part twice: twice the part would fit as well."""
    stand.needs(stand.capabilities.partial_refund, "refunds the whole alone")
    _, charged = await stand.charged()
    follow = stand.follow(charged, 2_50)
    first = await stand.done("refund", follow)

    await _same_again(stand, "refund", follow, first)
    await stand.expect_effects([follow], "refund")


@_case("The same void again is done once and answered alike.")
async def same_void(stand: Stand) -> None:
    """Send a void of a hold twice."""
    _, held = await stand.charged(capture=False)
    follow = stand.follow(held, SUM)
    first = await stand.done("void", follow)

    await _same_again(stand, "void", follow, first)


@_case("A key with another amount charges nothing more, and is no decline.")
async def other_amount(stand: Stand) -> None:
    """Send a charge, then another sum under its key."""
    call, _ = await stand.charged()

    outcome = await stand.do("charge", stand.call(key=call.key, amount=stand.money(SUM + 1)))

    _first_stands(outcome, SUM)
    await stand.expect_effects([call], "charge")


@_case("A key with another card charges nothing more, and is no decline.")
async def other_card(stand: Stand) -> None:
    """Send a charge, then the same with another card."""
    call, _ = await stand.charged()

    outcome = await stand.do("charge", stand.call(key=call.key, card=stand.trial.approved_too))

    _first_stands(outcome, SUM)
    await stand.expect_effects([call], "charge")


@_case("A key with another refund refunds nothing more, and is no decline.")
async def other_refund(stand: Stand) -> None:
    """Refund a part, then another part under its key."""
    stand.needs(stand.capabilities.partial_refund, "refunds the whole alone")
    _, charged = await stand.charged()
    follow = stand.follow(charged, 1_00)
    await stand.done("refund", follow)

    outcome = await stand.do("refund", stand.follow(charged, 2_00, key=follow.key))

    _first_stands(outcome, 1_00)
    await stand.expect_effects([follow], "refund")


@_case("A charge sent again without its CVV never says that it was not made.")
async def without_its_cvv(stand: Stand) -> None:
    """Send a charge again as after a restart, when the CVV is gone."""
    call, _ = await stand.charged()

    outcome = await stand.do("charge", stand.call(key=call.key, cvv=None))

    _first_stands(outcome, SUM)
    await stand.expect_effects([call], "charge")


@_case("A charge sent several times at once is done once.")
async def at_once(stand: Stand) -> None:
    """Send one call over several connections."""
    call = stand.call()

    outcomes = await asyncio.gather(*(stand.once("charge", call) for _ in range(_AT_ONCE)))
    after = await stand.do("charge", call)

    wrong = [each for each in outcomes if isinstance(each, Declined) and each.conclusive]
    expect(not wrong, f"of {_AT_ONCE} at once one was answered {told(next(iter(wrong), None))}")
    expect(isinstance(after, Approved), f"asked again afterwards it was {told(after)}")
    await stand.expect_effects([call], "charge")


@_case("A key as long as the adapter takes works, and the gateway's own keys fit.")
async def key_length(stand: Stand) -> None:
    """Charge and refund under the longest keys."""
    charge, refund = (stand.capabilities.terms(verb) for verb in ("charge", "refund"))
    least = min(charge.key_length_max, refund.key_length_max)
    expect(least >= _OUR_KEY_LENGTH, f"keys of {least} characters are too short for the gateway's")
    call = stand.call(key=_padded(stand.key(), charge.key_length_max))

    charged = await stand.done("charge", call)
    await _same_again(stand, "charge", call, charged)

    follow = stand.follow(charged, 1_00, key=_padded(stand.key(), refund.key_length_max))
    await stand.done("refund", follow)
    await stand.expect_effects([call, follow], "charge", "refund")


@_case("The adapter sends nothing again by itself, whatever it is answered.")
async def no_second_try(stand: Stand) -> None:
    """Count the requests of a charge that ends in a 500, and of one whose answer is lost."""
    for spoil in (troubles.refused_with(500), troubles.answer_lost):
        await stand.spoil_last("charge", spoil)
        before = len(stand.tap.moving)

        await stand.once("charge", stand.call())

        sent = len(stand.tap.moving) - before
        usual = stand.rehearsed.get("charge", 1)
        expect(sent <= usual, f"a charge of {usual} requests sent {sent} when one went wrong")


@_case("A call sent again is the same to the last byte: same keys, same bodies.")
async def same_bytes(stand: Stand) -> None:
    """Compare what went over the wire the first and the second time."""
    await stand.warm()
    call = stand.call()
    before = len(stand.tap.moving)
    await stand.done("charge", call)
    between = len(stand.tap.moving)
    await stand.do("charge", call)

    first, second = stand.tap.moving[before:between], stand.tap.moving[between:]

    said = [(each.method, each.path, each.body) for each in first]
    expect(
        said[-1:] == [(each.method, each.path, each.body) for each in second][-1:],
        "the request that moves money was another one the second time",
    )
    keys = [_keys_of(dict(each.headers), call.key) for each in (first[-1], second[-1])]
    expect(keys[0] == keys[1] != {}, "the request that moves money had other keys, or none")


async def _same_again(
    stand: Stand, verb: Verb, call: ChargeCall | FollowUpCall, first: Approved
) -> None:
    """Make a call that was done before, and expect the first one's answer."""
    second = await stand.do(verb, call)

    expect(first == second, f"the second time it was answered {told(second)}")


def _keys_of(headers: dict[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in headers.items() if key in value}


def _first_stands(outcome: object, minor: int) -> None:
    """Expect what the first request did, told again, or a doubt: never a no, never a second yes."""
    is_first = isinstance(outcome, Approved) and outcome.amount.minor == minor
    doubt = isinstance(outcome, Unknown) or (
        isinstance(outcome, Declined) and not outcome.conclusive
    )
    expect(is_first or doubt, f"under a used key it was answered {told(outcome)}")


def _padded(key: str, length: int) -> str:
    return key + "x" * (length - len(key))
