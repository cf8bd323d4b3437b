"""Does the simulator bite where the rare faults happen? Bugs that need one of them must all fall.

As in `test_planted_bugs.py`: none ships, each is a patch of the code path that it is about, and it
falls to a promise that every world is held to. `-s` prints after how many worlds: those of the
seeds from 1 on, with the one fault that the bug is about beside their own.
"""

# A planted bug reaches into what it breaks.
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from paygate_actors import charging, following
from paygate_actors.draft import Context, Draft
from paygate_actors.inbox import Inbox
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved
from paygate_actors.record import Call, Payment
from paygate_actors.simulation.faults import RARE_FAULTS, Fault, Options, options_of
from paygate_actors.simulation.sweep import live
from paygate_engine.errors import StoreFull
from paygate_engine.journal import Journal
from paygate_http.simulated_door import EdgeDoors

Patch = Callable[[pytest.MonkeyPatch], None]

# Seeds that a bug is hunted for here.
SEEDS_MAX = 300


def own_capture_of_a_provider_taken_for_a_repetition(patch: pytest.MonkeyPatch) -> None:
    def again(draft: Draft, call: Call, said: Approved, ctx: Context) -> None:
        del ctx
        charging.repeated(draft, call, said)

    patch.setattr(charging, "_approved_again", again)


def own_capture_that_is_the_first_news_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    def unasked(payment: Payment, call: Call, said: Approved) -> bool:
        del payment, call, said
        return False

    patch.setattr(charging, "_unasked", unasked)


def own_capture_of_a_part_taken_for_the_whole(patch: pytest.MonkeyPatch) -> None:
    known = charging._approved_again

    def again(draft: Draft, call: Call, said: Approved, ctx: Context) -> None:
        whole = Money(call.amount_minor, said.amount.currency)
        known(draft, call, replace(said, amount=whole), ctx)

    patch.setattr(charging, "_approved_again", again)


def captured_hold_counted_as_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(following, "HOLD_GONE", (*following.HOLD_GONE, "already_captured"))


def nobody_is_called_for_an_own_capture(patch: pytest.MonkeyPatch) -> None:
    known = Draft.attend

    def attend(self: Draft, code: str, detail: str = "") -> None:
        if code != "captured_by_provider":
            known(self, code, detail)

    patch.setattr(Draft, "attend", attend)


def webhook_acknowledged_while_there_is_no_room(patch: pytest.MonkeyPatch) -> None:
    known = Inbox._store_all

    async def store_all(self: Any, arrived: Any, raw: Any) -> Any:
        try:
            return await known(self, arrived, raw)
        except StoreFull:
            return []

    patch.setattr(Inbox, "_store_all", store_all)


def full_disk_ends_the_process(patch: pytest.MonkeyPatch) -> None:
    known = Journal._commit

    async def commit(self: Any, *group: Any) -> None:
        try:
            await known(self, *group)
        except StoreFull as error:
            self._fail(error)
            raise

    patch.setattr(Journal, "_commit", commit)


BUGS: tuple[tuple[Patch, Fault], ...] = (
    (own_capture_of_a_provider_taken_for_a_repetition, "provider_capture"),
    (own_capture_that_is_the_first_news_taken_for_ours, "provider_capture"),
    (own_capture_of_a_part_taken_for_the_whole, "provider_capture"),
    (captured_hold_counted_as_cancelled, "provider_capture"),
    (nobody_is_called_for_an_own_capture, "provider_capture"),
    (webhook_acknowledged_while_there_is_no_room, "without_room"),
    (full_disk_ends_the_process, "without_room"),
)


def with_the_fault(seed: int, fault: Fault) -> Options:
    options = options_of(seed, nodes=1)
    own = [each for each in options.faults if each not in RARE_FAULTS and each != "disk_full"]
    return replace(options, faults=(*own, fault), intensity=max(options.intensity, 0.1))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("bug", "fault"), BUGS, ids=[bug.__name__ for bug, _ in BUGS])
def test_a_planted_bug_that_needs_a_rare_fault_falls(
    bug: Patch, fault: Fault, monkeypatch: pytest.MonkeyPatch
):
    bug(monkeypatch)

    for seed in range(1, SEEDS_MAX + 1):
        breach = live(with_the_fault(seed, fault), doors=EdgeDoors).breach
        if breach is not None:
            print(f"{bug.__name__}: fell at seed {seed}: {breach.promise}")  # noqa: T201 - the table
            return
    pytest.fail(f"{bug.__name__} survived {SEEDS_MAX} seeds")
