"""Payments that sleep while their provider takes its time: nobody can tell but by the memory."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import pytest
from bank_rig import AMOUNT, MERCHANT, BankRig, bank_rig, done
from many_nodes_rig import ManyNodes, Node, many_nodes
from telling_rig import GOOD, SIGNATURE, TellingBank, body_of, send

from paygate_actors.config import Limits
from paygate_actors.desk_messages import Explanation
from paygate_actors.letters import Letters
from paygate_actors.messages import Refusal
from paygate_actors.money import Money
from paygate_actors.outcomes import ActionRequired, Approved, Outcome, Pending, Unknown
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import Await
from paygate_actors.providers.base import ProviderEvent
from paygate_engine.errors import AskTimeout

HOUR_US: Final = 3_600_000_000
# Longer than any pause between two inquiries about what is pending.
PAUSE_S: Final = 61.0

Rigs = Callable[..., AbstractAsyncContextManager[BankRig]]


def pending(key: str) -> Outcome:
    return Pending(provider_txn_id=f"ch_{key}")


def succeeded(payment_id: str, *, number: int = 1) -> ProviderEvent:
    return ProviderEvent(
        event_id=f"ev_{payment_id}_{number}",
        event_type="payment.succeeded",
        provider_txn_id=f"ch_{key_of(payment_id)}",
        reference=key_of(payment_id),
        amount=AMOUNT,
    )


def key_of(payment_id: str) -> str:
    return f"txn{payment_id.removeprefix('pay')}-1"


@pytest.fixture
def rigs(tmp_path: Path) -> Rigs:
    @asynccontextmanager
    async def opened(
        lingering: int = 0, *, says: Callable[[str], Outcome] = pending, live: int = 1_000
    ) -> AsyncGenerator[BankRig]:
        bank = TellingBank()
        bank.says |= {"charge": says, "find": says}
        limits = Limits(lingering_payments_max=lingering, live_payments_max=live)
        folder = tmp_path / str(lingering)
        folder.mkdir()
        async with bank_rig(folder, bank=bank, limits=limits) as rig:
            yield rig
            assert rig.fatal == []

    return opened


def sleeping(rig: BankRig | Node) -> int:
    return round(rig.gauge("paygate_sleeping_payments"))


def live(rig: BankRig | Node) -> int:
    return round(rig.gauge("paygate_live_payments"))


def woken(rig: BankRig | Node) -> int:
    """How often an actor was made for a payment: a new one, or one that was read back."""
    return rig.gateway.system.stats.of(PaymentActor).spawned


async def slept(rig: BankRig, count: int = 1) -> list[str]:
    """Payments that have fallen asleep."""
    ids = [await rig.pay() for _ in range(count)]
    await rig.until(lambda: sleeping(rig) == count)
    return ids


async def asked_at_s(rig: BankRig, *, within_s: float) -> list[float]:
    """When the bank was asked, to a tenth of a second."""
    times: list[float] = []
    began_s = rig.clock.monotonic_s()
    while rig.clock.monotonic_s() - began_s < within_s:
        before = len(rig.bank.of("find"))
        await rig.pass_time(0.1)
        times += [round(rig.clock.monotonic_s() - began_s, 1)] * (len(rig.bank.of("find")) - before)
    return times


async def test_a_pending_payment_sleeps_and_its_webhook_ends_it(rigs: Rigs):
    async with rigs() as rig:
        (payment_id,) = await slept(rig)
        in_memory = live(rig)

        refusal = await send(rig, succeeded(payment_id))
        await rig.until_status(payment_id, "success")
        await rig.until(lambda: live(rig) == 0)
        before = woken(rig)
        await rig.pass_time(3 * PAUSE_S)

        assert refusal is None
        assert (in_memory, sleeping(rig)) == (0, 0)
        assert rig.bank.of("find") == []  # its timer was taken back
        assert woken(rig) == before


async def test_it_is_asked_about_when_it_would_have_been_had_it_stayed_awake(rigs: Rigs):
    seen: list[list[float]] = []
    begun: list[int] = []
    for lingering in (0, 100):
        async with rigs(lingering) as rig:
            await rig.pay()
            seen.append(await asked_at_s(rig, within_s=400))
            begun.append(woken(rig))

    asleep, awake = seen
    assert asleep == awake
    pauses = [later - sooner for sooner, later in pairwise(asleep)]
    # It goes on where it was: each pause is longer than the one before, up to a minute.
    assert [round(each) for each in pauses[:4]] == [2, 4, 8, 15]
    assert min(pauses[-3:]) > 50
    assert begun == [1 + len(asleep), 1]


async def test_what_its_provider_expects_by_a_time_is_not_asked_about_before(rigs: Rigs):
    expected: list[int] = []

    def later(key: str) -> Outcome:
        return Pending(provider_txn_id=f"ch_{key}", expected_by_us=expected[0])

    async with rigs(says=later) as rig:
        expected.append(rig.clock.now_us() + HOUR_US)
        await slept(rig)

        await rig.pass_time(3_200)
        before = rig.bank.of("find")
        await rig.pass_time(410)

        assert before == []
        assert rig.bank.of("find") != []


async def test_the_deadline_of_a_payer_comes_also_while_the_payment_sleeps(rigs: Rigs):
    expires: list[int] = []

    def asks_payer(key: str) -> Outcome:
        return ActionRequired(
            provider_txn_id=f"ch_{key}", url="https://bank.example/3ds", expires_at_us=expires[0]
        )

    async with rigs(says=asks_payer) as rig:
        expires.append(rig.clock.now_us() + HOUR_US)
        (payment_id,) = await slept(rig)

        await rig.pass_time(3_590, step_s=30)
        before = rig.bank.of("void")
        await rig.pass_time(20, step_s=1)
        await rig.until_status(payment_id, "cancelled")

        assert before == []
        assert len(rig.bank.of("void")) == 1


@pytest.mark.parametrize("says", [Unknown(reason="timeout"), None], ids=["in doubt", "under way"])
async def test_what_may_have_to_be_sent_again_stays_awake(rigs: Rigs, says: Outcome | None):
    async with rigs() as rig:
        rig.bank.says["charge"] = says
        rig.bank.says["find"] = Unknown(reason="server_error")

        await rig.pay()
        await rig.until(lambda: bool(rig.bank.of("charge")))
        await rig.pass_time(10, step_s=1)

        assert (live(rig), sleeping(rig)) == (1, 0)


async def test_it_is_awake_while_it_is_asked_about(rigs: Rigs):
    async with rigs() as rig:
        await slept(rig)
        rig.bank.says["find"] = None

        await rig.until_asked()

        assert (live(rig), sleeping(rig)) == (1, 0)


async def test_of_many_that_are_pending_only_the_last_few_are_in_memory(rigs: Rigs):
    async with rigs(2) as rig:
        ids = [await rig.pay() for _ in range(12)]
        await rig.until(lambda: sleeping(rig) == 10)

        assert live(rig) == 2
        assert all(rig.gateway.payments.active(each) is not None for each in ids[-2:])


async def test_those_that_sleep_count_where_new_ones_are_let_in(rigs: Rigs):
    async with rigs(live=2) as rig:
        (payment_id, _) = await slept(rig, 2)
        full = rig.gateway.admission.refusal()
        assert await send(rig, succeeded(payment_id)) is None
        await rig.until_status(payment_id, "success")
        await rig.until(lambda: live(rig) == 0)

        assert full is not None
        assert full.code == "overloaded"
        assert rig.gateway.admission.refusal() is None


async def test_a_payment_that_slept_when_its_process_stopped_is_followed_by_the_next(rigs: Rigs):
    async with rigs() as rig:
        (first, second) = await slept(rig, 2)

        await rig.stop()
        await rig.start()
        await rig.until(lambda: sleeping(rig) == 2)
        await rig.until_asked()
        for payment_id in (first, second):
            assert await send(rig, succeeded(payment_id)) is None
            await rig.until_status(payment_id, "success")

        assert len(rig.bank.of("charge")) == 2


async def test_a_stream_that_was_damaged_while_its_payment_slept_hurts_nobody_else(rigs: Rigs):
    async with rigs() as rig:
        (hurt, other) = await slept(rig, 2)
        rig.store.spoilt.add(hurt)

        assert await send(rig, succeeded(hurt), succeeded(other)) is None
        await rig.until_status(other, "success")
        await rig.until(lambda: rig.gauge("paygate_quarantined_payments") == 1)
        rig.store.spoilt.clear()  # the audit's verifier has its own tests
        before = woken(rig)
        await rig.pass_time(3 * PAUSE_S)

        assert (live(rig), sleeping(rig)) == (0, 0)
        assert woken(rig) == before  # nothing rings for it
        assert rig.bank.of("find") == []


async def test_webhooks_for_more_than_can_be_read_back_at_once_are_all_served(
    rigs: Rigs, monkeypatch: pytest.MonkeyPatch
):
    async with rigs() as rig:
        ids = await slept(rig, 10)
        monkeypatch.setattr(rig.gateway.payments, "_load_concurrency", 1)
        monkeypatch.setattr(rig.gateway.payments, "_waiting_max", 1)

        assert await send(rig, *map(succeeded, ids)) is None
        # Less than a sweep takes to come.
        await rig.pass_time(5, step_s=0.1)

        assert [(await rig.view(each)).status for each in ids] == ["success"] * 10


async def test_who_stands_in_line_to_be_asked_about_is_not_read_back_to_wait(rigs: Rigs):
    async with rigs() as rig:
        slow = msgspec.structs.replace(rig.bank.capabilities, asks_per_s=0.2)
        rig.bank.capabilities = slow  # pyright: ignore[reportAttributeAccessIssue]  # a class's, here one bank's
        await slept(rig, 10)

        await rig.pass_time(48, step_s=0.1)

        asked = [each.key for each in rig.bank.of("find")]
        assert len(asked) == len(set(asked)) == 10
        assert woken(rig) == 20


async def test_who_asks_why_hears_when_the_next_look_up_comes_asleep_or_not(rigs: Rigs):
    told: list[Explanation | Refusal] = []
    for lingering in (0, 100):
        async with rigs(lingering) as rig:
            payment_id = await rig.pay()
            await rig.until_asked(3)
            await rig.until(lambda: sleeping(rig) == (not lingering))  # noqa: B023  # it is called here
            told.append(await rig.gateway.front.explain(MERCHANT, payment_id))

    asleep, awake = told
    assert isinstance(asleep, Explanation)
    assert asleep == awake
    assert asleep.calls[0].next_check_us is not None


async def test_to_be_looked_at_puts_the_next_inquiry_off_for_nobody(rigs: Rigs):
    async with rigs() as rig:
        (payment_id,) = await slept(rig)

        for _ in range(30):
            await rig.pass_time(10, step_s=1)
            assert isinstance(await rig.gateway.front.explain(MERCHANT, payment_id), Explanation)

        # After 1, 3, 7, 15, 30 and 60 seconds, and then each minute.
        assert len(rig.bank.of("find")) >= 8


async def test_of_many_refunds_that_end_at_once_each_is_heard_of_within_a_minute(rigs: Rigs):
    async with rigs(says=done) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "success")
        rig.bank.says |= {"refund": pending, "find": pending}
        for _ in range(20):
            await rig.refund(payment_id, 100)
        # Until each is asked about once a minute.
        await rig.pass_time(3 * PAUSE_S, step_s=1)

        given_back = Approved(provider_txn_id="re", amount=Money(100, "USD"), captured=False)
        rig.bank.says["find"] = given_back
        await rig.pass_time(PAUSE_S, step_s=1)

        assert (await rig.view(payment_id)).amount_refunded_minor == 2_000


async def test_a_payment_sleeps_when_the_last_who_waited_for_it_has_gone(rigs: Rigs):
    expected: list[int] = []

    def later(key: str) -> Outcome:
        return Pending(provider_txn_id=f"ch_{key}", expected_by_us=expected[0])

    async with rigs(says=later) as rig:
        expected.append(rig.clock.now_us() + 72 * HOUR_US)
        payment_id = await rig.pay()
        asked = rig.gateway.payments.ask(payment_id, Await(), timeout=5.0)
        await rig.pass_time(4, step_s=1)
        while_waiting = (live(rig), sleeping(rig))

        await rig.pass_time(2, step_s=1)

        assert while_waiting == (1, 0)
        assert (live(rig), sleeping(rig)) == (0, 1)
        with pytest.raises(AskTimeout):
            await asked


# ---------------------------------------------------------------------- one node of many


@pytest.fixture
async def many(tmp_path: Path) -> AsyncGenerator[ManyNodes]:
    async with many_nodes(tmp_path) as many:
        limits = Limits(lingering_payments_max=0)
        many.config = msgspec.structs.replace(many.config, limits=limits)
        yield many


async def joined(many: ManyNodes, name: str) -> tuple[Node, TellingBank]:
    bank = TellingBank()
    bank.says |= {"charge": pending, "find": pending}
    return await many.start(name, bank=bank), bank


async def test_what_another_node_recorded_meanwhile_is_known_to_who_wakes(many: ManyNodes):
    a, theirs = await joined(many, "a")
    b, _ = await joined(many, "b")
    payment_id = await a.pay()
    await many.until(lambda: sleeping(a) == 1)

    notice = body_of(succeeded(payment_id))
    assert await b.gateway.front.webhook("bank", {SIGNATURE: GOOD}, notice) is None
    await many.until_status(b, payment_id, "success")
    await many.pass_time(3 * PAUSE_S)

    assert (sleeping(a), live(a)) == (0, 0)
    assert theirs.of("find") == []


async def test_who_slept_at_a_node_that_died_is_followed_by_another_one(many: ManyNodes):
    a, _ = await joined(many, "a")
    b, theirs = await joined(many, "b")
    payment_id = await a.pay()
    await many.until(lambda: sleeping(a) == 1)
    theirs.says["find"] = done

    await many.lose(a)

    await many.until_status(b, payment_id, "success")
    assert theirs.verbs() == ["find"]


async def test_to_sleep_and_wake_sets_no_second_alarm_for_a_deadline(
    many: ManyNodes, monkeypatch: pytest.MonkeyPatch
):
    a, theirs = await joined(many, "a")
    expires_us = many.clock.now_us() + HOUR_US // 6
    alarms: list[int] = []
    at = Letters.at

    def heard(self: Letters, payment_id: str, at_us: int) -> None:
        alarms.append(at_us)
        at(self, payment_id, at_us)

    def asks_payer(key: str) -> Outcome:
        return ActionRequired(
            provider_txn_id=f"ch_{key}", url="https://bank.example/3ds", expires_at_us=expires_us
        )

    monkeypatch.setattr(Letters, "at", heard)
    theirs.says |= {"charge": asks_payer, "find": asks_payer}
    await a.pay()
    await many.until(lambda: sleeping(a) == 1)

    await many.pass_time(590, step_s=2)

    assert len(theirs.of("find")) > 10
    assert alarms == [expires_us]
