"""What an adapter of two steps promises beside the rest: inherit from `TwoStepSuite` as well.

Its provider makes an object first and charges it then; in between nothing can be lost.
"""

from typing import Protocol

import msgspec
import pytest
from provider_suite import SUM, Stage, charge_call

from paygate_actors.outcomes import Approved, Declined, Prepared, Unknown
from paygate_actors.providers.base import ChargeCall, FollowUpCall, TwoStepProvider


class TwoStepStage(Stage, Protocol):
    """A stage whose provider takes two steps."""

    @property
    def two_steps(self) -> TwoStepProvider:
        """Give the adapter."""
        ...

    async def lose_next_preparation(self) -> None:
        """Break the connection of the next first step after the object was made."""
        ...

    async def objects_made(self) -> int:
        """Count the objects that the provider was asked to make, repeated requests once."""
        ...


class TwoStepSuite:
    """Give it a fixture `stage`."""

    @pytest.fixture
    def prepared_call(self, stage: TwoStepStage) -> ChargeCall:
        return charge_call(stage.approved_number, "txn_1-1")

    async def test_it_says_that_it_takes_two_steps(self, stage: TwoStepStage):
        assert stage.two_steps.capabilities.steps == 2

    async def test_preparing_makes_one_object_and_moves_nothing(
        self, stage: TwoStepStage, prepared_call: ChargeCall
    ):
        first, again = [await stage.two_steps.prepare(prepared_call) for _ in range(2)]

        assert isinstance(first, Prepared)
        assert again == first
        assert await stage.objects_made() == 1
        assert await stage.effects() == []

    async def test_a_prepared_charge_is_confirmed_and_not_made_again(
        self, stage: TwoStepStage, prepared_call: ChargeCall
    ):
        named = await prepared(stage, prepared_call)

        outcome = await stage.two_steps.charge(confirming(prepared_call, named))

        assert isinstance(outcome, Approved)
        assert outcome.provider_txn_id == named
        assert await stage.objects_made() == 1
        assert await stage.effects() == [("charge", prepared_call.key, SUM.minor)]

    async def test_a_prepared_charge_is_seen_at_once_by_its_id(
        self, stage: TwoStepStage, prepared_call: ChargeCall
    ):
        named = await prepared(stage, prepared_call)

        before = await stage.two_steps.find(prepared_call.key, named)
        charged = await stage.two_steps.charge(confirming(prepared_call, named))
        after = await stage.two_steps.find(prepared_call.key, named)

        assert isinstance(before, Unknown)
        assert (before.reason, before.provider_txn_id) == ("not_visible", named)
        assert after == charged

    async def test_a_prepared_charge_that_was_cancelled_can_never_succeed(
        self, stage: TwoStepStage, prepared_call: ChargeCall
    ):
        named = await prepared(stage, prepared_call)

        voided = await stage.two_steps.void(
            FollowUpCall(key="txn_2-1", provider_txn_id=named, amount=SUM)
        )
        late = await stage.two_steps.charge(confirming(prepared_call, named))
        found = await stage.two_steps.find(prepared_call.key, named)

        assert voided == Approved(provider_txn_id=named, amount=SUM)
        for outcome in (late, found):
            assert isinstance(outcome, Declined)
            assert (outcome.code, outcome.conclusive) == ("cancelled", True)
        assert await stage.effects() == []

    async def test_an_answer_lost_while_preparing_is_recovered_by_the_same_key(
        self, stage: TwoStepStage, prepared_call: ChargeCall
    ):
        await stage.lose_next_preparation()

        lost = await stage.two_steps.charge(prepared_call)
        again = await stage.two_steps.charge(prepared_call)

        assert isinstance(lost, Unknown)
        assert isinstance(again, Approved)
        assert await stage.objects_made() == 1
        assert len(await stage.effects()) == 1

    async def test_a_preparation_that_never_left_is_a_no_that_proves_nothing(
        self, stage: TwoStepStage, prepared_call: ChargeCall
    ):
        provider = stage.unreachable()

        outcome = await provider.charge(prepared_call)
        await provider.close()

        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.conclusive) == ("not_sent", False)


async def prepared(stage: TwoStepStage, call: ChargeCall) -> str:
    """Take the first step, and give the object's id."""
    outcome = await stage.two_steps.prepare(call)
    assert isinstance(outcome, Prepared)
    return outcome.provider_txn_id


def confirming(call: ChargeCall, named: str) -> ChargeCall:
    """Make the second step of a call."""
    return msgspec.structs.replace(call, prepared_id=named)
