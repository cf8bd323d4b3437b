"""What every adapter promises, as tests: inherit from `ProviderSuite` and give it a `Stage`.

A stage is one provider account with its adapter, and hands on what can go wrong there. A peer is
done when these are green. They speak of promises only, never of an adapter's insides.
"""

import asyncio
from typing import Protocol, runtime_checkable

import pytest

from paygate_actors.card import SealedCard
from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.base import (
    ChargeCall,
    FollowUpCall,
    Instrument,
    Provider,
    SignatureInvalid,
)
from paygate_actors.providers.last_look import only_while

SUM = Money(1_000, "USD")

Effect = tuple[str, str, int]
"""(operation, key, minor units), as the provider's own books have it."""


class Stage(Protocol):
    """One provider to perform on."""

    provider: Provider
    approved_number: str
    declined_number: str
    confirm_number: str

    async def effects(self) -> list[Effect]:
        """Every movement of money, from the provider's books."""
        ...

    async def lose_next_request(self) -> None:
        """Break the next call's connection before the provider does anything."""
        ...

    async def lose_next_answer(self) -> None:
        """Break the next call's connection after its effect."""
        ...

    async def hang_next_answer(self) -> None:
        """Let the next call's answer come after the adapter's deadline."""
        ...

    async def fail_next(self) -> None:
        """Let the next call end in a server error."""
        ...

    async def garble_next(self) -> None:
        """Let the next call's answer be nonsense."""
        ...

    async def defer_next(self) -> None:
        """Let the provider take its time for the next call."""
        ...

    async def see_everything(self) -> None:
        """Wait until look-ups show what was done so far."""
        ...

    def unreachable(self) -> Provider:
        """Give an adapter of the same kind whose provider does not listen."""
        ...

    def signed(self, body: bytes, *, at_us: int) -> dict[str, str]:
        """Give the headers of a genuine webhook."""
        ...

    def webhook_body(self) -> bytes:
        """Give the body of a genuine webhook."""
        ...

    def now_us(self) -> int:
        """Give the provider's time."""
        ...

    def secrets(self) -> list[str]:
        """Give what must never be shown."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A stage whose provider only takes follow-ups in, and tells by webhook what became of them."""

    async def told(self, key: str) -> Outcome:
        """Wait for the webhook about the call with this key, and give what it says."""
        ...


class ProviderSuite:
    """Give it a fixture `stage`."""

    @pytest.fixture
    def charge(self, stage: Stage) -> ChargeCall:
        return charge_call(stage.approved_number, "txn_1-1")

    async def test_a_charge_says_what_was_taken(self, stage: Stage, charge: ChargeCall):
        outcome = await stage.provider.charge(charge)

        assert isinstance(outcome, Approved)
        assert (outcome.amount, outcome.captured) == (SUM, True)
        assert await stage.effects() == [("charge", charge.key, 1_000)]

    async def test_a_hold_is_not_captured_until_it_is(self, stage: Stage):
        held = await approved(stage, charge_call(stage.approved_number, "txn_1-1", capture=False))

        call = follow_up(held, "txn_2-1", 400)
        taken = await ended(stage, call, await stage.provider.capture(call))

        assert not held.captured
        assert isinstance(taken, Approved)
        assert (taken.amount, taken.provider_txn_id) == (Money(400, "USD"), held.provider_txn_id)
        assert (await stage.effects())[1:] == [("capture", "txn_2-1", 400)]

    async def test_a_refund_gives_a_part_back_under_an_id_of_its_own(
        self, stage: Stage, charge: ChargeCall
    ):
        charged = await approved(stage, charge)

        call = follow_up(charged, "txn_2-1", 250)
        back = await ended(stage, call, await stage.provider.refund(call))

        assert isinstance(back, Approved)
        assert back.amount == Money(250, "USD")
        assert back.provider_txn_id != charged.provider_txn_id
        assert (await stage.effects())[1:] == [("refund", "txn_2-1", 250)]

    async def test_a_void_undoes_the_whole(self, stage: Stage):
        # A provider that never voids what was captured is asked to void a hold.
        capture = stage.provider.capabilities.void_window_s != 0.0
        charge = charge_call(stage.approved_number, "txn_1-1", capture=capture)
        charged = await approved(stage, charge)

        call = follow_up(charged, "txn_2-1", 1_000)
        voided = await ended(stage, call, await stage.provider.void(call))

        assert isinstance(voided, Approved)
        assert voided.amount == SUM
        await stage.see_everything()
        found = await stage.provider.find(charge.key)
        if stage.provider.capabilities.finds:
            assert isinstance(found, Declined)
            assert found.code == "cancelled"

    async def test_nothing_leaves_while_the_node_may_not_act(
        self, stage: Stage, charge: ChargeCall
    ):
        held = await approved(stage, charge_call(stage.approved_number, "txn_1-1", capture=False))
        late, then = charge_call(stage.approved_number, "txn_2-1"), follow_up(held, "txn_3-1", 400)

        with only_while(lambda: False):
            outcomes = [
                await stage.provider.charge(late),
                await stage.provider.capture(then),
                await stage.provider.void(then),
                await stage.provider.refund(then),
            ]
            found = await stage.provider.find(charge.key)

        for outcome in outcomes:
            assert isinstance(outcome, Declined)
            assert (outcome.code, outcome.conclusive) == ("not_sent", False)
        assert isinstance(found, Unknown)
        assert len(await stage.effects()) == 1

    async def test_a_declined_card_is_a_conclusive_no(self, stage: Stage):
        call = charge_call(stage.declined_number, "txn_1-1")

        outcome = await stage.provider.charge(call)

        assert isinstance(outcome, Declined)
        assert outcome.conclusive
        assert not outcome.retryable
        assert await stage.effects() == []

    async def test_a_refund_beyond_the_charge_is_a_conclusive_no(
        self, stage: Stage, charge: ChargeCall
    ):
        charged = await approved(stage, charge)

        call = follow_up(charged, "txn_2-1", 1_001)
        outcome = await ended(stage, call, await stage.provider.refund(call))

        assert isinstance(outcome, Declined)
        assert outcome.conclusive
        assert len(await stage.effects()) == 1

    async def test_a_payer_who_must_confirm_is_sent_somewhere_in_time(self, stage: Stage):
        call = charge_call(stage.confirm_number, "txn_1-1")

        outcome = await stage.provider.charge(call)

        assert isinstance(outcome, ActionRequired)
        assert outcome.url.startswith("http")
        assert outcome.expires_at_us > stage.now_us()
        assert await stage.effects() == []

    async def test_an_unconfirmed_charge_can_be_voided(self, stage: Stage):
        call = charge_call(stage.confirm_number, "txn_1-1")
        asked = await stage.provider.charge(call)
        assert isinstance(asked, ActionRequired)

        void = FollowUpCall(key="txn_2-1", provider_txn_id=asked.provider_txn_id, amount=SUM)
        outcome = await ended(stage, void, await stage.provider.void(void))

        assert isinstance(outcome, Approved)
        assert await stage.effects() == []

    async def test_the_same_call_again_is_done_once(self, stage: Stage, charge: ChargeCall):
        first = await stage.provider.charge(charge)

        second = await stage.provider.charge(charge)

        assert first == second
        assert len(await stage.effects()) == 1

    async def test_the_same_refund_again_is_done_once(self, stage: Stage, charge: ChargeCall):
        charged = await approved(stage, charge)
        call = follow_up(charged, "txn_2-1", 250)

        outcomes = [await stage.provider.refund(call) for _ in range(2)]

        assert outcomes[0] == outcomes[1]
        assert len(await stage.effects()) == 2

    async def test_a_key_without_its_cvv_proves_that_the_first_call_arrived(
        self, stage: Stage, charge: ChargeCall
    ):
        """It is answered as the first one was, or refused as known: never done once more."""
        first = await approved(stage, charge)

        outcome = await stage.provider.charge(
            charge_call(stage.approved_number, charge.key, cvv=None)
        )

        if outcome != first:
            assert isinstance(outcome, Unknown)
            assert outcome.reason == "key_known"
        assert len(await stage.effects()) == 1

    async def test_a_lost_request_is_not_known_and_can_be_sent_again(
        self, stage: Stage, charge: ChargeCall
    ):
        await stage.lose_next_request()

        lost = await stage.provider.charge(charge)
        again = await stage.provider.charge(charge)

        assert isinstance(lost, Unknown)
        assert isinstance(again, Approved)
        assert len(await stage.effects()) == 1

    async def test_a_lost_answer_is_not_known_and_the_same_key_recovers_it(
        self, stage: Stage, charge: ChargeCall
    ):
        await stage.lose_next_answer()

        lost = await stage.provider.charge(charge)
        again = await stage.provider.charge(charge)

        assert isinstance(lost, Unknown)
        assert isinstance(again, Approved)
        assert len(await stage.effects()) == 1

    async def test_a_lost_answer_on_a_used_connection_is_not_known_either(
        self, stage: Stage, charge: ChargeCall
    ):
        await approved(stage, charge)
        await stage.lose_next_answer()

        lost = await stage.provider.charge(charge_call(stage.approved_number, "txn_2-1"))

        assert isinstance(lost, Unknown)
        assert len(await stage.effects()) == 2

    async def test_a_server_error_and_nonsense_are_not_known(
        self, stage: Stage, charge: ChargeCall
    ):
        await stage.fail_next()
        failed = await stage.provider.charge(charge)
        await stage.garble_next()
        garbled = await stage.provider.charge(charge)

        assert isinstance(failed, Unknown)
        assert failed.reason == "server_error"
        assert isinstance(garbled, Unknown)
        assert garbled.reason == "garbage"

    @pytest.mark.slow
    async def test_a_hang_ends_at_the_deadline_and_is_not_known(
        self, stage: Stage, charge: ChargeCall
    ):
        await stage.hang_next_answer()
        deadline_s = stage.provider.capabilities.deadline_s

        async with asyncio.timeout(deadline_s + 1):
            outcome = await stage.provider.charge(charge)

        assert isinstance(outcome, Unknown)
        assert outcome.reason == "timeout"

    async def test_a_call_that_never_left_is_a_no_that_proves_nothing(
        self, stage: Stage, charge: ChargeCall
    ):
        provider = stage.unreachable()

        outcome = await provider.charge(charge)
        await provider.close()

        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.retryable, outcome.conclusive) == ("not_sent", True, False)

    async def test_a_look_up_that_never_left_is_not_known(self, stage: Stage):
        provider = stage.unreachable()

        outcome = await provider.find("txn_1-1")
        await provider.close()

        assert isinstance(outcome, Unknown)

    async def test_a_pending_call_is_found_pending(self, stage: Stage, charge: ChargeCall):
        await stage.defer_next()

        outcome = await stage.provider.charge(charge)
        await stage.see_everything()
        found = await stage.provider.find(charge.key)

        assert isinstance(outcome, Pending)
        if stage.provider.capabilities.finds:
            assert isinstance(found, Pending)
        else:
            assert isinstance(found, Unknown)
        assert await stage.effects() == []

    async def test_a_look_up_finds_what_was_done(self, stage: Stage, charge: ChargeCall):
        charged = await approved(stage, charge)
        await stage.see_everything()

        found = await stage.provider.find(charge.key)

        if stage.provider.capabilities.finds:
            assert found == charged
        else:
            # Where nothing can be seen, the same key tells.
            assert isinstance(found, Unknown)
            assert await stage.provider.charge(charge) == charged

    async def test_a_look_up_that_finds_nothing_proves_nothing(self, stage: Stage):
        outcome = await stage.provider.find("never_used-1")

        assert isinstance(outcome, Unknown)
        assert outcome.reason == "not_visible"

    async def test_a_genuine_webhook_is_taken_and_read(self, stage: Stage):
        body = stage.webhook_body()
        headers = stage.signed(body, at_us=stage.now_us())

        stage.provider.verify(headers, body, now_us=stage.now_us())
        (event,) = stage.provider.parse(headers, body)

        assert event.event_id
        assert event.event_type
        assert event.provider_txn_id

    @pytest.mark.parametrize("off_s", [-301, 301])
    async def test_an_old_webhook_and_one_from_the_future_are_refused(
        self, stage: Stage, off_s: int
    ):
        body = stage.webhook_body()
        headers = stage.signed(body, at_us=stage.now_us() + off_s * 1_000_000)

        with pytest.raises(SignatureInvalid):
            stage.provider.verify(headers, body, now_us=stage.now_us())

    async def test_a_webhook_with_another_body_is_refused(self, stage: Stage):
        body = stage.webhook_body()
        headers = stage.signed(body, at_us=stage.now_us())

        with pytest.raises(SignatureInvalid):
            stage.provider.verify(headers, body + b" ", now_us=stage.now_us())

    async def test_a_webhook_with_hostile_headers_is_refused_and_never_an_error(self, stage: Stage):
        body = stage.webhook_body()
        genuine = stage.signed(body, at_us=stage.now_us())

        for name in genuine:
            for hostile in ("", "\0", "é", ",", "v1", "v1,", "v1,é", " ", "-1", "9" * 5_000):
                with pytest.raises(SignatureInvalid):
                    stage.provider.verify({**genuine, name: hostile}, body, now_us=stage.now_us())
        with pytest.raises(SignatureInvalid):
            stage.provider.verify({}, body, now_us=stage.now_us())

    async def test_the_configuration_shown_holds_no_secret(self, stage: Stage):
        shown = str(stage.provider.redacted_config())

        for secret in stage.secrets():
            assert secret not in shown
            assert secret not in repr(vars(stage.provider))

    async def test_closing_twice_is_fine_and_later_calls_did_not_leave(
        self, stage: Stage, charge: ChargeCall
    ):
        await stage.provider.close()
        await stage.provider.close()

        outcome = await stage.provider.charge(charge)

        assert isinstance(outcome, Declined)
        assert not outcome.conclusive


def charge_call(
    number: str,
    key: str,
    *,
    cvv: str | None = "123",
    capture: bool = True,
) -> ChargeCall:
    """A charge of `SUM` by card."""
    card = SealedCard(number, cvv)
    instrument = Instrument(kind="card", card=card, expiry_month=12, expiry_year=2040)
    return ChargeCall(key=key, amount=SUM, instrument=instrument, capture=capture)


def follow_up(charged: Approved, key: str, minor: int) -> FollowUpCall:
    """A follow-up of that many minor units."""
    return FollowUpCall(
        key=key, provider_txn_id=charged.provider_txn_id, amount=Money(minor, "USD")
    )


async def ended(stage: Stage, call: FollowUpCall, outcome: Outcome) -> Outcome:
    """What became of a follow-up, by its own answer or by the webhook that it promised."""
    if not isinstance(outcome, Pending):
        return outcome
    assert isinstance(stage, Telling), "nobody would ever tell"
    return await stage.told(call.key)


async def approved(stage: Stage, call: ChargeCall) -> Approved:
    """Make the charge and expect that it works."""
    outcome = await stage.provider.charge(call)
    assert isinstance(outcome, Approved)
    return outcome
