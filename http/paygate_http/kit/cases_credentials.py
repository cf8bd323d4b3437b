"""Who starts a payment, with whose consent, and how the payer proves who they are."""

from typing import Any

from msgspec.structs import replace

from paygate_actors.outcomes import ActionRequired, Approved, Declined, Outcome
from paygate_actors.providers.base import ChargeCall, SignatureInvalid
from paygate_http.kit.stand import Stand
from paygate_http.kit.verdicts import CaseFailed, Chapter, expect
from paygate_http.kit.wording import told

CHAPTER: Chapter[Stand] = Chapter("Credentials", "credentials")

_case = CHAPTER.case

# No provider has sent anybody away under it.
_NOBODYS = "nobody_was_sent_away_with_this"


@_case("A step-up that a rule demands is made: the payer confirms, or is known to the issuer.")
async def step_up(stand: Stand) -> None:
    """3-D Secure, required, of a card that would not ask by itself."""
    stand.needs(stand.capabilities.three_d_secure, "asks no payer to confirm")
    call = replace(stand.call(), three_d_secure="required")

    outcome = await stand.do("charge", call)

    if isinstance(outcome, Approved):
        shown = outcome.authentication not in (None, "none")
        expect(shown, f"it was charged, and the payer's proof is {outcome.authentication}")
        await stand.expect_effects([call], "charge")
        return
    expect(isinstance(outcome, ActionRequired), f"it was answered {told(outcome)}")
    await stand.expect_effects([call])


@_case("A payment that the merchant starts sends nobody away to confirm: nobody is there.")
async def merchant_initiated(stand: Stand) -> None:
    """The next month of a subscription."""
    first = await _stored(stand)
    call = replace(
        stand.call(cvv=None),
        initiator="merchant",
        reason="recurring",
        network_txn_id=first.network_txn_id,
    )

    await _done_or_declined(stand, call)


@_case("A card that asks for its payer is declined where the merchant starts the payment.")
async def merchant_initiated_confirm(stand: Stand) -> None:
    """The issuer wants somebody who is not there."""
    stand.needs(stand.trial.confirm is not None, "has no test card for it")
    first = await _stored(stand)
    call = replace(
        stand.call(card=stand.trial.confirm),
        initiator="merchant",
        reason="unscheduled",
        network_txn_id=first.network_txn_id,
    )

    await _done_or_declined(stand, call)


@_case("The card network's id of a payment is told alike by the answer and when it is sent again.")
async def network_id(stand: Stand) -> None:
    """What later payments refer to."""
    call = replace(stand.call(), store=True)
    first = await stand.done("charge", call)
    stand.needs(first.network_txn_id is not None, "tells no id of the card network's")

    again = await stand.do("charge", call)

    expect(
        isinstance(again, Approved) and again.network_txn_id == first.network_txn_id,
        "it told another one, or none, the second time",
    )


@_case("Whoever comes back without having been sent away brings nothing.")
async def returned(stand: Stand) -> None:
    """The door for payers is open to everybody."""
    stand.needs(stand.capabilities.returns, "its payers come back to the merchant's own page")
    provider: Any = stand.provider
    await stand.warm()
    before = len(stand.tap.seen)
    for query in ({}, {"redirectResult": ""}, {"redirectResult": _NOBODYS, "state": _NOBODYS}):
        try:
            came = await provider.returned(query)
        except SignatureInvalid:
            continue
        if came.events:
            raise CaseFailed("it was taken for a payer who was sent away")
    expect(len(stand.tap.seen) == before, "something left for the provider")


async def _stored(stand: Stand) -> Approved:
    return await stand.done("charge", replace(stand.call(), store=True))


async def _done_or_declined(stand: Stand, call: ChargeCall) -> None:
    outcome: Outcome = await stand.do("charge", call)

    expect(isinstance(outcome, Approved | Declined), f"it was answered {told(outcome)}")
    made = ["charge"] if isinstance(outcome, Approved) else []
    await stand.expect_effects([call], *made)
