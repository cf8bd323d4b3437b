"""Look-ups, lists of events, and charges in two steps: what can be asked about, and when."""

from typing import Any, Final

import msgspec

from paygate_actors.outcomes import (
    Approved,
    Declined,
    Outcome,
    Pending,
    Prepared,
    Unknown,
)
from paygate_actors.providers.base import ChargeCall, EventPage, FollowUpCall
from paygate_http.kit import troubles
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.verdicts import Chapter, expect
from paygate_http.kit.wording import Verb, told

CHAPTER: Chapter[Stand] = Chapter("Looking", "looking")

_case = CHAPTER.case

_DEFERRED_MS: Final = 1_500
# A busy sandbox has a page or two of what is newer than the beginning of a case.
_PAGES_MAX: Final = 20
_BACK_US: Final = 60 * 1_000_000


@_case("A look-up finds a charge as it was answered, within the lag that the adapter names.")
async def finds_a_charge(stand: Stand) -> None:
    """By our key alone."""
    stand.needs(stand.capabilities.terms("charge").finds, "has no look-up of charges by our key")
    call, charged = await stand.charged()

    found = await stand.found(call.key, lambda outcome: isinstance(outcome, Approved))

    expect(found == charged, f"it was answered {told(charged)} and found {told(found)}")


@_case("A look-up finds a hold as a hold.")
async def finds_a_hold(stand: Stand) -> None:
    """By our key alone."""
    stand.needs(stand.capabilities.terms("authorize").finds, "has no look-up of holds by our key")
    call, held = await stand.charged(capture=False)

    found = await stand.found(call.key, lambda outcome: isinstance(outcome, Approved))

    expect(found == held, f"it was answered {told(held)} and found {told(found)}")


@_case("A look-up finds a capture.")
async def finds_a_capture(stand: Stand) -> None:
    """By the capture's own key."""
    _, held = await stand.charged(capture=False)
    await _found_again(stand, "capture", stand.follow(held, SUM))


@_case("A look-up finds a refund.")
async def finds_a_refund(stand: Stand) -> None:
    """By the refund's own key."""
    _, charged = await stand.charged()
    await _found_again(stand, "refund", stand.follow(charged, 2_50))


@_case("A look-up that finds nothing proves nothing.")
async def finds_nothing(stand: Stand) -> None:
    """A key that was never used."""
    stand.needs(stand.capabilities.finds, "has no look-up")

    outcome = await stand.provider.find(stand.key())

    expect(
        isinstance(outcome, Unknown) and outcome.reason == "not_visible",
        f"nothing was found as {told(outcome)}",
    )


@_case("Where there is no look-up, asking for one is a doubt and no request.")
async def no_look_up(stand: Stand) -> None:
    """An adapter must not make one up."""
    stand.needs(not stand.capabilities.finds, "has a look-up")

    outcome = await stand.provider.find(stand.key())

    expect(isinstance(outcome, Unknown), f"it was answered {told(outcome)}")


@_case("A voided charge is found cancelled, and never as a success.")
async def finds_a_void(stand: Stand) -> None:
    """The hold was there, and is not any more."""
    stand.needs(stand.capabilities.terms("authorize").finds, "has no look-up of holds by our key")
    call, held = await stand.charged(capture=False)
    await stand.done("void", stand.follow(held, SUM))

    found = await stand.found(call.key, lambda outcome: isinstance(outcome, Declined))

    expect(isinstance(found, Declined) and found.code == "cancelled", f"found {told(found)}")


@_case("A declined charge is found declined, or not at all.")
async def finds_a_decline(stand: Stand) -> None:
    """Never as a success."""
    stand.needs(stand.capabilities.terms("charge").finds, "has no look-up of charges by our key")
    declined = stand.trial.declines.get("card_declined")
    stand.needs(declined is not None, "has no test card for it")
    call = stand.call(card=declined)
    await stand.do("charge", call)

    found = await stand.found(call.key, lambda outcome: isinstance(outcome, Declined))

    expect(isinstance(found, Declined | Unknown), f"found {told(found)}")


@_case("What the provider takes its time for is told as pending, and ends.", alone=True)
async def pending(stand: Stand) -> None:
    """Later it is done, by webhook or when asked."""
    call = stand.call()
    await stand.plan("pending", operation="charge", delayMs=_DEFERRED_MS)

    outcome = await stand.once("charge", call)
    at_once = await stand.effects(call.key)
    ended = await stand.settled("charge", call, outcome)

    expect(isinstance(outcome, Pending), f"it was answered {told(outcome)}")
    expect(at_once == [], "it was done, and answered as pending")
    expect(isinstance(ended, Approved), f"it ended as {told(ended)}")
    await stand.expect_effects([call], "charge")


@_case("The list of events has what webhooks would have told, once and in pages.")
async def feed(stand: Stand) -> None:
    """A missed webhook is only a delay."""
    stand.needs(stand.capabilities.feeds, "lists no events")
    since_us = stand.clock.now_us() - _BACK_US
    call, charged = await stand.charged()
    provider: Any = stand.provider

    told_of: list[str] = []
    cursor: str | None = None
    for _ in range(_PAGES_MAX):
        page = await provider.events(since_us=since_us, cursor=cursor)
        expect(isinstance(page, EventPage), f"the list was answered {told(page)}")
        told_of += [
            event.event_id
            for event in page.events
            if call.key == event.reference or charged.provider_txn_id == event.provider_txn_id
        ]
        cursor = page.next_cursor
        if cursor is None:
            break

    expect(bool(told_of), "the list does not have the charge that was made a moment ago")
    expect(len(told_of) == len(set(told_of)), "one event is listed twice")


@_case("A list of events that is nonsense is a doubt, not an empty list.")
async def feed_nonsense(stand: Stand) -> None:
    """Nobody may take it for silence."""
    stand.needs(stand.capabilities.feeds, "lists no events")
    await stand.warm()
    provider: Any = stand.provider
    for spoil in (troubles.answered_with(troubles.html), troubles.refused_with(500)):
        stand.tap.spoil_next(spoil, looks=True)

        page = await provider.events(since_us=stand.clock.now_us() - _BACK_US)

        expect(isinstance(page, Unknown), "a list that could not be read was taken for a list")


@_case("Preparing makes one object, however often, and moves nothing.")
async def prepared_once(stand: Stand) -> None:
    """The first of two steps."""
    call = stand.call()

    first, second = await _prepared(stand, call), await _prepared(stand, call)

    expect(first == second, "the same call was prepared twice")
    await stand.expect_effects([call])


@_case("A prepared charge is confirmed, under the id that was written down.")
async def prepared_and_confirmed(stand: Stand) -> None:
    """The second of two steps."""
    call = stand.call()
    named = await _prepared(stand, call)

    charged = await stand.done("charge", msgspec.structs.replace(call, prepared_id=named))

    expect(charged.provider_txn_id == named, "the charge goes by another id than was prepared")
    await stand.expect_effects([call], "charge")


@_case("A prepared charge is seen at once by its id: unconfirmed first, and then done.")
async def prepared_and_found(stand: Stand) -> None:
    """No lag, because the object itself is read."""
    call = stand.call()
    named = await _prepared(stand, call)
    provider: Any = stand.provider

    before: Outcome = await provider.find(call.key, named)
    charged = await stand.done("charge", msgspec.structs.replace(call, prepared_id=named))
    after: Outcome = await provider.find(call.key, named)

    expect(
        isinstance(before, Unknown)
        and (before.reason, before.provider_txn_id) == ("not_visible", named),
        f"unconfirmed it was found as {told(before)}",
    )
    expect(after == charged, f"confirmed it was found as {told(after)}")


@_case("A prepared charge that was cancelled can never succeed.")
async def prepared_and_cancelled(stand: Stand) -> None:
    """What licenses a failover."""
    call = stand.call()
    named = await _prepared(stand, call)
    void = FollowUpCall(key=stand.key(), provider_txn_id=named, amount=call.amount)

    voided = await stand.do("void", void)
    late = await stand.do("charge", msgspec.structs.replace(call, prepared_id=named))

    expect(isinstance(voided, Approved), f"the void was answered {told(voided)}")
    expect(
        isinstance(late, Declined) and (late.code, late.conclusive) == ("cancelled", True),
        f"confirmed after its end it was answered {told(late)}",
    )
    await stand.expect_effects([call])


async def _prepared(stand: Stand, call: ChargeCall) -> str:
    stand.needs(stand.capabilities.steps > 1, "charges in one step")
    provider: Any = stand.provider
    outcome = await provider.prepare(call)
    stand.outcomes.append(outcome)
    expect(isinstance(outcome, Prepared), f"the first step was answered {told(outcome)}")
    return outcome.provider_txn_id


async def _found_again(stand: Stand, verb: Verb, call: FollowUpCall) -> None:
    stand.needs(stand.capabilities.terms(verb).finds, f"has no look-up of a {verb} by our key")
    done = await stand.done(verb, call)

    found = await stand.found(call.key, lambda outcome: isinstance(outcome, Approved))

    expect(
        isinstance(found, Approved)
        and (found.provider_txn_id, found.amount) == (done.provider_txn_id, done.amount),
        f"it was answered {told(done)} and found {told(found)}",
    )
