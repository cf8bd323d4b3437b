"""Our adapter before a second Stripe: localstripe, which shares no line with our sandbox."""

from collections.abc import AsyncIterator

import pytest
from localstripe_rig import Translator, localstripe
from provider_suite import SUM, charge_call, follow_up
from stripe_rig import stripe_adapter

from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined
from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument
from paygate_actors.providers.stripe import StripeProvider

pytestmark = pytest.mark.slow

APPROVED = "4242424242424242"
# It declines this one at the charge; those that Stripe declines there it declines when attached.
DECLINED = "4000000000000341"


@pytest.fixture
async def peer() -> AsyncIterator[tuple[StripeProvider, Translator]]:
    async with localstripe() as (url, translator):
        provider = stripe_adapter(url)
        yield provider, translator
        await provider.close()


async def paid(provider: StripeProvider, key: str, *, capture: bool = True) -> Approved:
    outcome = await provider.charge(charge_call(APPROVED, key, capture=capture))
    assert isinstance(outcome, Approved), outcome
    return outcome


async def test_a_charge_is_made_and_found(peer: tuple[StripeProvider, Translator]):
    provider, _ = peer

    charged = await paid(provider, "txn_1-1")
    found = await provider.find("txn_1-1", charged.provider_txn_id)

    assert (charged.amount, charged.captured) == (SUM, True)
    assert found == charged


async def test_a_hold_is_captured_in_part(peer: tuple[StripeProvider, Translator]):
    provider, _ = peer
    held = await paid(provider, "txn_1-1", capture=False)

    taken = await provider.capture(follow_up(held, "txn_2-1", 400))

    assert (held.amount, held.captured) == (SUM, False)
    assert isinstance(taken, Approved)
    assert (taken.amount, taken.captured) == (Money(400, "USD"), True)


async def test_a_hold_is_voided_and_found_cancelled(peer: tuple[StripeProvider, Translator]):
    provider, _ = peer
    held = await paid(provider, "txn_1-1", capture=False)

    voided = await provider.void(follow_up(held, "txn_2-1", 1_000))
    found = await provider.find("txn_1-1", held.provider_txn_id)

    assert voided == Approved(provider_txn_id=held.provider_txn_id, amount=SUM)
    assert isinstance(found, Declined)
    assert found.code == "cancelled"


async def test_a_part_is_refunded_and_found_beside_its_charge(
    peer: tuple[StripeProvider, Translator],
):
    provider, _ = peer
    charged = await paid(provider, "txn_1-1")

    back = await provider.refund(follow_up(charged, "txn_2-1", 250))
    found = await provider.find("txn_2-1", charged.provider_txn_id)

    assert isinstance(back, Approved)
    assert back.amount == Money(250, "USD")
    assert found == back


async def test_a_decline_is_a_conclusive_no(peer: tuple[StripeProvider, Translator]):
    provider, _ = peer

    outcome = await provider.charge(charge_call(DECLINED, "txn_1-1"))

    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.conclusive) == ("card_declined", True)


async def test_a_token_and_a_prepared_intent_need_one_confirmation(
    peer: tuple[StripeProvider, Translator],
):
    provider, translator = peer
    instrument = Instrument(kind="card", provider_token="pm_card_visa")
    call = ChargeCall(key="txn_1-1", amount=SUM, instrument=instrument, capture=True)

    outcome = await provider.charge(call)

    assert isinstance(outcome, Approved)
    assert translator.confirmations == 1


async def test_a_charge_that_does_not_exist_is_no_proof_of_anything(
    peer: tuple[StripeProvider, Translator],
):
    provider, _ = peer

    outcome = await provider.refund(
        FollowUpCall(key="txn_2-1", provider_txn_id="pi_none", amount=SUM)
    )

    assert isinstance(outcome, Declined)
    assert not outcome.conclusive
