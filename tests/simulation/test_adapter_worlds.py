"""Worlds in which the real adapters speak to the sandbox in their providers' own languages."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from gateway_words import seed_of
from msgspec.structs import replace

from paygate_actors.outcomes import Approved, Declined, Outcome, Unknown
from paygate_actors.providers.base import ChargeCall
from paygate_actors.providers.stripe import StripeProvider
from paygate_actors.simulation.faults import Options, options_of
from paygate_actors.simulation.result import Result
from paygate_actors.simulation.sweep import live, sweep
from paygate_http.simulated_door import EdgeDoors
from paygate_http.simulated_kinds import KINDS
from paygate_http.simulated_players import SandboxPlayers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ADAPTERS = sorted(KINDS)
# On the machine that decides, enough to meet what one world in thirty shows.
FRESH = 40 if os.environ.get("CI", "").lower() in ("1", "true") else 5
# Seeds that a planted bug is hunted for.
SEEDS_MAX = 60

Plant = Callable[[Any, pytest.MonkeyPatch], None]


def lived(seed: int, *adapters: str) -> Result:
    return live(of(seed, *adapters), doors=EdgeDoors, players=SandboxPlayers)


def of(seed: int, *adapters: str) -> Options:
    return options_of(seed, adapters=adapters)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_same_seed_is_the_same_history_with_an_adapter_too(adapter: str):
    first, again = lived(3, adapter), lived(3, adapter)

    assert first.breach is None
    assert first == again


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_quiet_world_pays_over_its_adapter(adapter: str):
    result = live(
        options_of(3, faults=(), adapters=(adapter,)), doors=EdgeDoors, players=SandboxPlayers
    )

    assert result.breach is None
    assert result.payments > 5
    assert result.promises > result.payments


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_fresh_worlds_keep_every_promise_with_an_adapter(adapter: str):
    start = seed_of(f"worlds of {adapter}").randrange(1 << 30)

    _all_kept(start, FRESH, adapter)


def test_worlds_keep_every_promise_with_all_adapters_at_once():
    start = seed_of("worlds of all adapters").randrange(1 << 30)

    _all_kept(start, FRESH, *ADAPTERS)


def _all_kept(start: int, count: int, *adapters: str) -> None:
    worlds = [of(seed, *adapters) for seed in range(start, start + count)]
    for result in sweep(worlds, doors=EdgeDoors, players=SandboxPlayers):
        repeat = f"paygate simulate --seed {result.options.seed} --adapters {','.join(adapters)}"
        assert result.breach is None, f"{repeat}: {result.breach}"


# ------------------------------------------------------------------ do these worlds bite?


def a_lost_answer_is_a_decline(adapter: Any, patch: pytest.MonkeyPatch) -> None:
    genuine = adapter.charge

    async def charge(self: Any, call: ChargeCall) -> Outcome:
        said = await genuine(self, call)
        lost = isinstance(said, Unknown)
        return Declined(code="processing_error", retryable=True) if lost else said

    patch.setattr(adapter, "charge", charge)


def a_lost_answer_is_a_success(adapter: Any, patch: pytest.MonkeyPatch) -> None:
    genuine = adapter.charge

    async def charge(self: Any, call: ChargeCall) -> Outcome:
        said = await genuine(self, call)
        if isinstance(said, Unknown):
            made_up = call.prepared_id or call.key
            return Approved(provider_txn_id=made_up, amount=call.amount, captured=call.capture)
        return said

    patch.setattr(adapter, "charge", charge)


def the_amount_that_was_asked_for_is_believed(adapter: Any, patch: pytest.MonkeyPatch) -> None:
    genuine = adapter.find

    async def find(self: Any, *asked: Any) -> Outcome:
        said = await genuine(self, *asked)
        if isinstance(said, Approved):
            return replace(said, amount=replace(said.amount, minor=said.amount.minor + 1))
        return said

    patch.setattr(adapter, "find", find)


PLANTED: tuple[Plant, ...] = (
    a_lost_answer_is_a_decline,
    a_lost_answer_is_a_success,
    the_amount_that_was_asked_for_is_believed,
)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_bug_that_is_planted_in_an_adapter_falls(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    plant(StripeProvider, monkeypatch)

    fell = next(
        (seed for seed in range(1, SEEDS_MAX + 1) if lived(seed, "stripe").breach is not None), None
    )

    assert fell is not None, f"it survived {SEEDS_MAX} worlds"
