"""The line breaks, hangs and drips, at each step of a call: doubt is doubt; the key recovers."""

import asyncio

from paygate_actors.outcomes import Approved, Declined, Outcome, Unknown
from paygate_actors.providers.base import ChargeCall, FollowUpCall
from paygate_http.kit import troubles
from paygate_http.kit.closed_port import closed_url
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.tap import Spoil
from paygate_http.kit.verdicts import Chapter, expect
from paygate_http.kit.wording import Verb, told

CHAPTER: Chapter[Stand] = Chapter("The line", "line")

_case = CHAPTER.case

# Beyond the deadline: for a busy machine, not for the adapter.
_GRACE_S = 2.0
_CROWD = 12


@_case("A charge whose request was lost is not known, and its key recovers it.")
async def request_lost(stand: Stand) -> None:
    """The provider never hears of it."""
    await _lost_and_recovered(stand, troubles.request_lost)


@_case("A charge whose answer was lost is not known, and its key recovers it.")
async def answer_lost(stand: Stand) -> None:
    """The provider did it."""
    await _lost_and_recovered(stand, troubles.answer_lost)


@_case("An answer lost at any earlier step of a charge is recovered by the same key.")
async def answer_lost_on_the_way(stand: Stand) -> None:
    """Each request before the one that moves money."""
    steps = stand.rehearsed.get("charge", 1)
    stand.needs(steps > 1, "a charge is one request")
    await stand.warm()
    for step in range(steps - 1):
        call = stand.call()
        stand.tap.spoil_next(troubles.answer_lost, skips=step)

        lost = await stand.once("charge", call)
        again = await stand.do("charge", call)

        expect(
            isinstance(lost, Unknown) or (isinstance(lost, Declined) and not lost.conclusive),
            f"an answer lost at step {step + 1} of {steps} was {told(lost)}",
        )
        expect(
            isinstance(again, Approved), f"sent again after step {step + 1} it was {told(again)}"
        )
        await stand.expect_effects([call], "charge")


@_case("A hold whose answer was lost is not known, and its key recovers it.")
async def hold_lost(stand: Stand) -> None:
    """The provider holds the money."""
    call = stand.call(capture=False)
    await _follow_lost(stand, "authorize", call, "authorize")


@_case("A capture whose answer was lost is not known, and its key recovers it.")
async def capture_lost(stand: Stand) -> None:
    """The provider captured."""
    _, held = await stand.charged(capture=False)
    await _follow_lost(stand, "capture", stand.follow(held, SUM), "capture")


@_case("A refund whose answer was lost is not known, and its key recovers it.")
async def refund_lost(stand: Stand) -> None:
    """The provider gave it back."""
    _, charged = await stand.charged()
    await _follow_lost(stand, "refund", stand.follow(charged, 2_50), "refund")


@_case("A void whose answer was lost is not known, and its key recovers it.")
async def void_lost(stand: Stand) -> None:
    """The provider let the hold go."""
    _, held = await stand.charged(capture=False)
    await _follow_lost(stand, "void", stand.follow(held, SUM), None)


@_case("An answer lost on a connection that has served before is not known either.")
async def lost_when_warm(stand: Stand) -> None:
    """Kept-alive connections are where libraries retry by themselves."""
    for _ in range(2):
        await stand.charged()
    await _lost_and_recovered(stand, troubles.answer_lost)


@_case("A hang before the effect ends at the deadline and is not known.")
async def hang_before(stand: Stand) -> None:
    """The provider never hears of it."""
    await _hung(stand, troubles.request_hung)


@_case("A hang after the effect ends at the deadline and is not known.")
async def hang_after(stand: Stand) -> None:
    """The provider did it."""
    await _hung(stand, troubles.answer_hung)


@_case("An answer that comes a byte at a time ends at the deadline and is not known.")
async def slow_drip(stand: Stand) -> None:
    """A read deadline that starts anew with each byte would wait for minutes."""
    await _hung(stand, troubles.dripped)


@_case("A call that never left is a no that proves nothing, and may be tried elsewhere.")
async def never_left(stand: Stand) -> None:
    """Nobody listens."""
    provider = stand.build(closed_url())
    try:
        outcome = await provider.charge(stand.call())
        refund = await provider.refund(
            stand.follow(Approved(provider_txn_id="none_1", amount=stand.money()), SUM)
        )
    finally:
        await provider.close()

    for each in (outcome, refund):
        expect(
            isinstance(each, Declined)
            and (each.code, each.retryable, each.conclusive) == ("not_sent", True, False),
            f"a call that never left was answered {told(each)}",
        )


@_case("A look-up that never left is not known.")
async def look_up_never_left(stand: Stand) -> None:
    """Nobody listens, so nobody said no."""
    provider = stand.build(closed_url())
    try:
        outcome = await provider.find(stand.key())
    finally:
        await provider.close()

    expect(isinstance(outcome, Unknown), f"it was answered {told(outcome)}")


@_case("A redirect is not followed, and what it was the answer to is not known.")
async def redirect(stand: Stand) -> None:
    """Where it leads the charge would be made, and another time by whoever follows."""
    await stand.spoil_last("charge", troubles.redirected)

    outcome = await stand.once("charge", stand.call())

    expect(stand.tap.trapped == 0, "the adapter followed a redirect with a payment")
    expect(isinstance(outcome, Unknown), f"a redirect was answered {told(outcome)}")


@_case("A look-up's redirect is not followed either.")
async def look_up_redirect(stand: Stand) -> None:
    """A look-up carries the account's key."""
    stand.needs(stand.capabilities.finds, "has no look-up")
    await stand.warm()
    stand.tap.spoil_next(troubles.redirected, looks=True)

    outcome = await stand.provider.find(stand.key())

    expect(stand.tap.trapped == 0, "the adapter followed a redirect with its key")
    expect(isinstance(outcome, Unknown), f"a redirect was answered {told(outcome)}")


@_case("Many charges at once get their own answers.")
async def crowd(stand: Stand) -> None:
    """Each has an amount of its own."""
    calls = [stand.call(amount=stand.money(SUM + number)) for number in range(_CROWD)]

    charged = await asyncio.gather(*(stand.done("charge", call) for call in calls))

    expect(len({each.provider_txn_id for each in charged}) == _CROWD, "two charges go by one id")
    if stand.has_desk:
        effects = await stand.effects(*(call.key for call in calls))
        booked = {(each.key, each.minor) for each in effects}
        expect(
            booked == {(call.key, call.amount.minor) for call in calls},
            "the books have other charges than were made",
        )


@_case("Closing twice is fine, and whatever comes later never left.")
async def closed(stand: Stand) -> None:
    """A gateway that stops may be asked once more."""
    await stand.charged()
    await stand.provider.close()
    await stand.provider.close()

    outcome = await stand.once("charge", stand.call())

    expect(
        isinstance(outcome, Declined) and not outcome.conclusive,
        f"a call after the end was answered {told(outcome)}",
    )


async def _lost_and_recovered(stand: Stand, spoil: Spoil) -> None:
    call = stand.call()
    await stand.spoil_last("charge", spoil)

    lost = await stand.once("charge", call)
    again = await stand.do("charge", call)

    expect(isinstance(lost, Unknown), f"it was answered {told(lost)}")
    expect(isinstance(again, Approved), f"sent again under its key it was answered {told(again)}")
    await stand.expect_effects([call], "charge")


async def _follow_lost(
    stand: Stand, verb: Verb, call: ChargeCall | FollowUpCall, operation: str | None
) -> None:
    await stand.spoil_last(verb, troubles.answer_lost)

    lost = await stand.once(verb, call)
    again = await stand.do(verb, call)

    expect(isinstance(lost, Unknown), f"it was answered {told(lost)}")
    expect(isinstance(again, Approved), f"sent again under its key it was answered {told(again)}")
    if operation is not None:
        await stand.expect_effects([call], operation)


async def _hung(stand: Stand, spoil: Spoil) -> None:
    call = stand.call()
    await stand.spoil_last("charge", spoil)
    deadline_s = stand.capabilities.deadline_s

    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(deadline_s + _GRACE_S):
            outcome = await stand.once("charge", call)
    except TimeoutError:
        expect(kept=False, seen=f"it was still waiting {_GRACE_S:g} s after its deadline")

    expect(
        isinstance(outcome, Unknown) and outcome.reason == "timeout",
        f"at the deadline it was answered {told(outcome)}",
    )
    again = await stand.do("charge", call)
    expect(isinstance(again, Approved), f"sent again under its key it was answered {told(again)}")
    await stand.expect_effects([call], "charge")
