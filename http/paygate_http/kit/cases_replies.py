"""The provider did it, and says nonsense, or something that is about another payment."""

import asyncio

from paygate_actors.outcomes import Approved, Declined, Pending, Unknown
from paygate_http.kit import troubles
from paygate_http.kit.stand import SUM, Stand
from paygate_http.kit.tap import Answer, Spoil
from paygate_http.kit.verdicts import Chapter, expect
from paygate_http.kit.wording import told

CHAPTER: Chapter[Stand] = Chapter("Replies", "replies")

_case = CHAPTER.case


@_case("A page of HTML is not known.")
async def html(stand: Stand) -> None:
    """A load balancer speaks for the provider."""
    await _doubted(stand, troubles.answered_with(troubles.html, content_type="text/html"))


@_case("An answer of 10 MB is not read, and not known.")
async def ten_megabytes(stand: Stand) -> None:
    """It would be a good answer, for whoever reads all of it."""
    await _doubted(stand, troubles.answered_with(troubles.bloated))


@_case("An empty answer is not known.")
async def empty(stand: Stand) -> None:
    """200, and nothing."""
    await _doubted(stand, troubles.answered_with(troubles.empty))


@_case("An answer that is cut off is not known.")
async def cut_off(stand: Stand) -> None:
    """Half of it, in an HTTP answer that is whole."""
    await _doubted(stand, troubles.answered_with(troubles.cut_off))


@_case("An answer of no text is not known.")
async def nonsense(stand: Stand) -> None:
    """Bytes."""
    await _doubted(stand, troubles.answered_with(troubles.nonsense))


@_case("An answer that is nested without end is not known.")
async def nested(stand: Stand) -> None:
    """A reader that recurses falls."""
    await _doubted(stand, troubles.answered_with(troubles.nested))


@_case("An amount that is NaN is not known.")
async def nan(stand: Stand) -> None:
    """No number of the answer is one."""
    await _doubted(stand, troubles.answered_with(troubles.with_nan))


@_case("A good answer of a wrong content type is taken for what it says, or not known.")
async def content_type(stand: Stand) -> None:
    """The body is right."""
    call = stand.call()
    await stand.spoil_last(
        "charge", troubles.answered_with(lambda body: body, content_type="text/html")
    )

    outcome = await stand.do("charge", call)

    expect(
        isinstance(outcome, Unknown)
        or (isinstance(outcome, Approved) and outcome.amount == call.amount),
        f"it was answered {told(outcome)}",
    )


@_case("A 500 is not known: behind the door that broke, it may have been done.")
async def error_500(stand: Stand) -> None:
    """The provider did it, and says 500."""

    async def spoil(_: object, upstream: troubles.Upstream) -> Answer:
        await upstream()
        return Answer(status=500, body=b"{}")

    await _doubted(stand, spoil, reason="server_error")


@_case("A 503 with a Retry-After is not known.")
async def error_503(stand: Stand) -> None:
    """Nothing was done, and nobody can tell."""
    await stand.spoil_last("charge", troubles.refused_with(503, retry_after="1"))

    outcome = await stand.once("charge", stand.call())

    expect(isinstance(outcome, Unknown), f"it was answered {told(outcome)}")


@_case("A 500 that is kept under its key stays not known, and is never a yes.", alone=True)
async def stored_500(stand: Stand) -> None:
    """Stripe does so: the key answers 500 for ever."""
    call = stand.call()
    await stand.plan("error_500_stored", operation="charge")

    outcomes = [await stand.once("charge", call) for _ in range(2)]

    for each in outcomes:
        expect(isinstance(each, Unknown), f"it was answered {told(each)}")
    await stand.expect_effects([call])


@_case("A 429 is no decline: nothing was looked at, and it may be tried again.")
async def too_many_requests(stand: Stand) -> None:
    """With a Retry-After, before the effect."""
    await stand.spoil_last("charge", troubles.refused_with(429, retry_after="2"))

    outcome = await stand.once("charge", stand.call())

    nothing_proved = isinstance(outcome, Declined) and outcome.retryable and not outcome.conclusive
    expect(nothing_proved or isinstance(outcome, Unknown), f"it was answered {told(outcome)}")


@_case("A refusal of the account's key is not the payer's decline.")
async def unauthorized(stand: Stand) -> None:
    """401: the gateway's fault, not the card's. One that gets itself a new token may go on."""
    call = stand.call()
    await stand.spoil_last("charge", troubles.refused_with(401, b"{}"))

    outcome = await stand.once("charge", call)

    if isinstance(outcome, Approved):
        await stand.expect_effects([call], "charge")
        return
    expect(
        isinstance(outcome, Unknown)
        or (isinstance(outcome, Declined) and (outcome.retryable or not outcome.conclusive)),
        f"it was answered {told(outcome)}",
    )


@_case("Two charges that get each other's answer believe neither.")
async def swapped(stand: Stand) -> None:
    """Two at once, with amounts of their own."""
    calls = [stand.call(amount=stand.money(SUM + number)) for number in range(2)]
    whole, _ = await stand.charged()
    steps = sum(each.mentions(whole.key) for each in stand.tap.moving)
    stand.needs(steps > 0, "its requests do not carry our key")
    for call, side in zip(calls, troubles.swapped(), strict=True):
        stand.tap.spoil_next(side, skips=steps - 1, mentions=call.key)

    outcomes = await asyncio.gather(*(stand.once("charge", call) for call in calls))

    for call, outcome in zip(calls, outcomes, strict=True):
        expect(
            not isinstance(outcome, Approved) or outcome.amount == call.amount,
            f"a charge of {call.amount} was answered {told(outcome)}",
        )
        expect(isinstance(outcome, Unknown), f"a swapped answer was taken: {told(outcome)}")


@_case("The answer to another charge of the same amount is not believed.")
async def of_another_charge(stand: Stand) -> None:
    """Amount and currency are right; key and id are another's."""
    copies: list[Answer] = []
    await stand.spoil_last("charge", troubles.kept(copies))
    await stand.charged()
    await stand.spoil_last("charge", troubles.exchanged(copies[0]))

    outcome = await stand.once("charge", stand.call())

    expect(isinstance(outcome, Unknown), f"another's answer was taken: {told(outcome)}")


@_case("The answer to another refund of the same amount is not believed.")
async def of_another_refund(stand: Stand) -> None:
    """Of another charge, even."""
    copies: list[Answer] = []
    _, first = await stand.charged()
    await stand.spoil_last("refund", troubles.kept(copies))
    await stand.once("refund", stand.follow(first, 1_00))
    _, second = await stand.charged()
    await stand.spoil_last("refund", troubles.exchanged(copies[0]))

    outcome = await stand.once("refund", stand.follow(second, 1_00))

    expect(isinstance(outcome, Unknown), f"another's answer was taken: {told(outcome)}")


@_case("The answer to another capture of the same amount is not believed.")
async def of_another_capture(stand: Stand) -> None:
    """Of another hold."""
    copies: list[Answer] = []
    _, first = await stand.charged(capture=False)
    await stand.spoil_last("capture", troubles.kept(copies))
    await stand.once("capture", stand.follow(first, SUM))
    _, second = await stand.charged(capture=False)
    await stand.spoil_last("capture", troubles.exchanged(copies[0]))

    outcome = await stand.once("capture", stand.follow(second, SUM))

    expect(isinstance(outcome, Unknown), f"another's answer was taken: {told(outcome)}")


@_case("Another amount than was asked is told as it was said, never as it was asked.", alone=True)
async def other_amount(stand: Stand) -> None:
    """The provider books and answers another amount."""
    call = stand.call()
    await stand.plan("wrong_amount", operation="charge")

    outcome = await stand.do("charge", call)

    booked = [each.minor for each in await stand.effects(call.key)]
    expect(booked != [call.amount.minor], "the sandbox did not book another amount")
    expect(
        isinstance(outcome, Unknown)
        or (isinstance(outcome, Approved) and [outcome.amount.minor] == booked),
        f"the books have {booked}, and it was answered {told(outcome)}",
    )


@_case("Another currency than was asked is told as it was said, never as it was asked.")
async def other_currency(stand: Stand) -> None:
    """The same number, of something else."""
    call = stand.call()
    other = "EUR" if stand.currency != "EUR" else "USD"
    await stand.spoil_last(
        "charge", troubles.answered_with(troubles.in_currency(stand.currency, other))
    )

    outcome = await stand.once("charge", call)

    expect(
        isinstance(outcome, Unknown | Pending)
        or (isinstance(outcome, Approved) and outcome.amount.currency == other),
        f"an answer in {other} was taken for {told(outcome)}",
    )


@_case("Nonsense instead of a look-up's answer never says no.")
async def look_up_nonsense(stand: Stand) -> None:
    """HTML, nothing, half of it, 404 in HTML, 500, 429: of a charge that was made."""
    stand.needs(stand.capabilities.finds, "has no look-up")
    call, _ = await stand.charged()
    await stand.found(call.key, lambda outcome: isinstance(outcome, Approved))
    for spoil in (
        troubles.answered_with(troubles.html),
        troubles.answered_with(troubles.empty),
        troubles.answered_with(troubles.cut_off),
        troubles.refused_with(404, troubles.HTML),
        troubles.refused_with(403, b"{}"),
        troubles.refused_with(429, retry_after="1"),
        troubles.refused_with(500),
    ):
        stand.tap.spoil_next(spoil, looks=True)

        outcome = await stand.provider.find(call.key)

        expect(isinstance(outcome, Unknown), f"a look-up that failed said {told(outcome)}")


async def _doubted(stand: Stand, spoil: Spoil, *, reason: str | None = None) -> None:
    """The charge was made, and its answer is spoilt: that is doubt, and the key recovers it."""
    call = stand.call()
    await stand.spoil_last("charge", spoil)

    outcome = await stand.once("charge", call)
    again = await stand.do("charge", call)

    expect(isinstance(outcome, Unknown), f"it was answered {told(outcome)}")
    assert isinstance(outcome, Unknown), "looked at above"
    if reason is not None:
        expect(outcome.reason == reason, f"it was not known for another reason: {told(outcome)}")
    expect(isinstance(again, Approved), f"sent again under its key it was {told(again)}")
    await stand.expect_effects([call], "charge")
