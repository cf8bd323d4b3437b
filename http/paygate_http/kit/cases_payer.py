"""Payers: what they are asked to confirm, why they are declined, what they pay with."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from paygate_actors.decline_codes import DECLINE_CODES
from paygate_actors.outcomes import ActionRequired, Approved, Declined, Outcome, Pending
from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument, ProviderEvent
from paygate_http.kit.desk import DeskRefused
from paygate_http.kit.stand import RETURN_URL, SETTLE_S, SUM, Stand
from paygate_http.kit.verdicts import CaseFailed, Chapter, expect
from paygate_http.kit.wording import told

CHAPTER: Chapter[Stand] = Chapter("Payers", "payer")

_case = CHAPTER.case


@_case("A payer who must confirm is sent somewhere, in time, and nothing is taken before.")
async def confirmation_asked(stand: Stand) -> None:
    """3-D Secure begins."""
    call, asked = await _asked(stand)

    expect(asked.url.startswith(("http://", "https://")), "the payer is sent to no web address")
    expect(asked.expires_at_us > stand.clock.now_us(), "the payer's time is over already")
    await stand.expect_effects([call])


@_case("A payer who confirmed has paid: the webhook says so, and a look-up.")
async def confirmation_passed(stand: Stand) -> None:
    """3-D Secure ends well."""
    call, asked = await _asked(stand)

    await _act(stand, call, asked, passes=True)
    outcome = await _ended(stand, call, _about(call, asked, "payment.succeeded"))

    _, event = await stand.ear.heard(_about(call, asked, "payment.succeeded"))
    expect(event.amount in (None, call.amount), f"the webhook speaks of {event.amount}")
    expect(isinstance(outcome, Approved | None), f"asked for again it was {told(outcome)}")
    await stand.expect_effects([call], "charge")
    if stand.capabilities.finds:
        found = await stand.found(call.key, lambda outcome: isinstance(outcome, Approved))
        expect(isinstance(found, Approved) and found.amount == call.amount, told(found))


@_case("A payer who did not pass has not paid, and is told why: by webhook, or asked again.")
async def confirmation_failed(stand: Stand) -> None:
    """3-D Secure ends badly."""
    call, asked = await _asked(stand)

    await _act(stand, call, asked, passes=False)
    outcome = await _ended(stand, call, _about(call, asked, "payment.failed"))

    if outcome is None:
        _, event = await stand.ear.heard(_about(call, asked, "payment.failed"))
        expect(event.reason in DECLINE_CODES, f"the webhook's reason is {event.reason}")
    else:
        expect(isinstance(outcome, Declined), f"asked for again it was {told(outcome)}")
    await stand.expect_effects([call])
    if stand.capabilities.finds:
        found = await stand.found(call.key, lambda outcome: isinstance(outcome, Declined))
        expect(isinstance(found, Declined), f"a look-up says {told(found)}")


@_case("An unconfirmed charge can be voided, and never succeeds then.")
async def void_unconfirmed(stand: Stand) -> None:
    """The merchant does not wait for the payer."""
    call, asked = await _asked(stand)
    void = FollowUpCall(key=stand.key(), provider_txn_id=asked.provider_txn_id, amount=call.amount)

    outcome = await stand.once("void", void)
    if isinstance(outcome, Pending) and not stand.capabilities.terms("void").finds:
        # What has no id so far is cancelled by our reference, and told of by that.
        await stand.ear.heard(_cancels(call, void))
    else:
        outcome = await stand.settled("void", void, outcome)
        expect(isinstance(outcome, Approved), f"the void was answered {told(outcome)}")
    try:
        await stand.desk.act(await _id_of(stand, call, asked), "complete")
    except DeskRefused:
        pass
    else:
        raise CaseFailed("the payer could confirm what was voided")
    await stand.expect_effects([call])


def _declined(code: str) -> None:
    kind = DECLINE_CODES[code].kind
    sentence = f"A card that is declined as {code} gets a conclusive no of the kind {kind}."

    async def check(stand: Stand) -> None:
        stand.needs(code in stand.trial.declines, "has no test card for it")
        call = stand.call(card=stand.trial.declines[code])

        outcome = await stand.do("charge", call)

        expect(
            isinstance(outcome, Declined) and (outcome.code, outcome.conclusive) == (code, True),
            f"it was answered {told(outcome)}",
        )
        assert isinstance(outcome, Declined), "looked at above"
        expect(
            outcome.retryable == (kind == "retryable"),
            f"retryable is {outcome.retryable}, and the code is {kind}",
        )
        await stand.expect_effects([call])

    check.__name__ = f"decline_{code}"
    _case(sentence)(check)


for _code in (
    "card_declined",
    "insufficient_funds",
    "lost_card",
    "stolen_card",
    "expired_card",
    "incorrect_cvc",
    "processing_error",
):
    _declined(_code)


@_case("A declined hold is a conclusive no as well.")
async def declined_hold(stand: Stand) -> None:
    """Nothing is held."""
    declined = stand.trial.declines.get("insufficient_funds")
    stand.needs(declined is not None, "has no test card for it")
    call = stand.call(card=declined, capture=False)

    outcome = await stand.do("authorize", call)

    expect(isinstance(outcome, Declined) and outcome.conclusive, told(outcome))
    await stand.expect_effects([call])


@_case("A card without a CVV is charged where the adapter says that it may be.")
async def no_cvv(stand: Stand) -> None:
    """As a charge is that is sent again from the vault."""
    stand.needs(stand.capabilities.takes_no_cvv, "takes no card without its CVV")
    call = stand.call(cvv=None)

    await stand.done("charge", call)

    await stand.expect_effects([call], "charge")


@_case("What the provider keeps itself is charged by its token: no card number is sent.")
async def provider_token(stand: Stand) -> None:
    """A merchant with hosted fields."""
    stand.needs(stand.capabilities.provider_tokens, "charges no token of its own")
    stand.needs(stand.trial.token is not None, "has no token to try")
    call = _token_call(stand, stand.trial.token or "")

    outcome = await stand.done("charge", call)

    expect(outcome.captured, "it was only held")
    await stand.expect_effects([call], "charge")


@_case("A token whose card is declined is a conclusive no.")
async def declined_token(stand: Stand) -> None:
    """The card behind it is not good."""
    stand.needs(stand.capabilities.provider_tokens, "charges no token of its own")
    stand.needs(stand.trial.declined_token is not None, "has no such token to try")
    call = _token_call(stand, stand.trial.declined_token or "")

    outcome = await stand.do("charge", call)

    expect(isinstance(outcome, Declined) and outcome.conclusive, told(outcome))
    await stand.expect_effects([call])


@_case("A payment method that the provider does not know is refused, and nothing is charged.")
async def unknown_method(stand: Stand) -> None:
    """A token of nobody's."""
    stand.needs(stand.trial.unknown_token is not None, "knows every token that it is sent")
    call = _token_call(stand, stand.trial.unknown_token or "")

    outcome = await stand.do("charge", call)

    expect(isinstance(outcome, Declined), f"it was answered {told(outcome)}")
    await stand.expect_effects([call])


@_case("A dispute is told by webhook, with its charge and its sum.")
async def dispute_opened(stand: Stand) -> None:
    """The cardholder disputes."""
    await _disputed(stand)


@_case("A dispute that was lost is told as lost.")
async def dispute_lost(stand: Stand) -> None:
    """The bank decides for the cardholder."""
    await _closed(stand, won=False)


@_case("A dispute that was won is told as won.")
async def dispute_won(stand: Stand) -> None:
    """The bank decides for the merchant."""
    await _closed(stand, won=True)


async def _asked(stand: Stand) -> tuple[ChargeCall, ActionRequired]:
    stand.needs(stand.capabilities.three_d_secure, "asks no payer to confirm")
    stand.needs(stand.trial.confirm is not None, "has no test card for it")
    call = stand.call(card=stand.trial.confirm)
    outcome = await stand.do("charge", call)
    expect(isinstance(outcome, ActionRequired), f"it was answered {told(outcome)}")
    assert isinstance(outcome, ActionRequired), "looked at above"
    return call, outcome


async def _id_of(stand: Stand, call: ChargeCall, asked: ActionRequired) -> str:
    # Where a provider's id for the payer is not the one of the books, the books tell.
    # Where the books tell nobody, it is what the payer's own page is called.
    return await stand.desk.charge_id(call.key) or urlsplit(asked.url).path.rpartition("/")[2]


async def _act(stand: Stand, call: ChargeCall, asked: ActionRequired, *, passes: bool) -> None:
    does = "complete" if passes else "fail"
    try:
        await stand.desk.act(asked.provider_txn_id, does)
    except DeskRefused:
        await stand.desk.act(await _id_of(stand, call, asked), does)


async def _ended(
    stand: Stand, call: ChargeCall, is_it: Callable[[ProviderEvent], bool]
) -> Outcome | None:
    """Wait for the end of a confirmation: None where a webhook tells of it.

    Some providers charge only when they are asked again, as the gateway does meanwhile.
    """
    outcome: Outcome | None = None
    try:
        async with asyncio.timeout(SETTLE_S):
            while not isinstance(outcome, Approved | Declined):
                if await stand.ear.has_heard(is_it):
                    return None
                outcome = await stand.once("charge", call)
    except TimeoutError:
        pass
    return outcome


def _cancels(call: ChargeCall, void: FollowUpCall) -> Callable[[ProviderEvent], bool]:
    def is_it(event: ProviderEvent) -> bool:
        ours = event.reference in (call.key, void.key)
        return ours and event.event_type == "payment.cancelled"

    return is_it


def _about(
    call: ChargeCall, asked: ActionRequired, event_type: str
) -> Callable[[ProviderEvent], bool]:
    def is_it(event: ProviderEvent) -> bool:
        ours = event.reference == call.key or event.provider_txn_id == asked.provider_txn_id
        return ours and event.event_type == event_type

    return is_it


def _token_call(stand: Stand, token: str) -> ChargeCall:
    return ChargeCall(
        key=stand.key(),
        amount=stand.money(),
        instrument=Instrument(kind="card", provider_token=token),
        capture=True,
        return_url=RETURN_URL,
    )


async def _disputed(stand: Stand) -> tuple[ChargeCall, Approved]:
    stand.needs(stand.trial.disputed is not None, "has no test card for it")
    _ = stand.desk
    call, charged = await stand.charged(card=stand.trial.disputed)

    _, event = await stand.ear.heard(_disputes(call, charged, "dispute.opened"))
    expect(event.amount in (None, stand.money(SUM)), f"the dispute is about {event.amount}")
    return call, charged


async def _closed(stand: Stand, *, won: bool) -> None:
    call, charged = await _disputed(stand)
    await stand.desk.close_dispute(charged.provider_txn_id, "won" if won else "lost")

    _, event = await stand.ear.heard(_disputes(call, charged, "dispute.closed"))

    expect(event.dispute_won is won, f"the webhook says dispute_won={event.dispute_won}")


def _disputes(
    call: ChargeCall, charged: Approved, event_type: str
) -> Callable[[ProviderEvent], bool]:
    def is_it(event: ProviderEvent) -> bool:
        about = (event.provider_txn_id, event.parent_txn_id)
        ours = charged.provider_txn_id in about or event.reference == call.key
        return ours and event.event_type == event_type

    return is_it
