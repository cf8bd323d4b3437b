"""The desk of a whole gateway, on a clock moved by hand, with a bank that says what it is told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bank_rig import (
    AMOUNT,
    KEY_WINDOW_S,
    MERCHANT,
    OPERATOR,
    BankRig,
    bank_rig,
    done,
)

from paygate_actors.config import Fraud
from paygate_actors.desk_messages import (
    AskAgain,
    DeskEntry,
    DeskPage,
    Explanation,
    MarkNotCharged,
    MarkSeen,
)
from paygate_actors.messages import Caller, Filters, PaymentView, Refusal, ReviewPayment
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined, Outcome, Unknown
from paygate_actors.projection import DESK
from paygate_actors.proving import prove_all
from paygate_engine.stores.base import AuditRow

RESET = Unknown(reason="reset")
PAST_THE_WINDOW_S = KEY_WINDOW_S + 700


async def doubted(rig: BankRig, said: Outcome = RESET) -> str:
    """A payment whose charge the bank heard, and nobody knows what it did."""
    before = rig.gauge("paygate_in_doubt_calls")
    rig.bank.says["charge"] = said
    payment_id = await rig.pay()
    await rig.until(lambda: rig.gauge("paygate_in_doubt_calls") == before + 1)
    rig.bank.says["charge"] = done
    return payment_id


async def forgotten(rig: BankRig) -> str:
    """The same, a day later: the bank has forgotten the key, and still sees nothing."""
    payment_id = await doubted(rig)
    rig.bank.says["charge"] = Unknown(reason="key_known")
    await rig.until_asked()
    rig.clock.advance(PAST_THE_WINDOW_S)
    await rig.until_asked()
    return payment_id


async def desk(rig: BankRig, *, limit: int = 20, cursor: str | None = None) -> DeskPage:
    filters = Filters(limit=limit, cursor=cursor)
    page = await rig.gateway.front.in_doubt(OPERATOR, filters)
    assert isinstance(page, DeskPage), page
    return page


async def entry(rig: BankRig) -> DeskEntry:
    """The only one there is."""
    (found,) = (await desk(rig)).items
    return found


async def ask(rig: BankRig, payment_id: str) -> DeskEntry | Refusal:
    return await rig.gateway.front.ask_again(AskAgain(caller=OPERATOR, payment_id=payment_id))


async def not_charged(rig: BankRig, payment_id: str) -> DeskEntry | Refusal:
    command = MarkNotCharged(caller=OPERATOR, payment_id=payment_id, reason="Not in its records.")
    return await rig.gateway.front.mark_not_charged(command)


async def seen(rig: BankRig, payment_id: str) -> DeskEntry | Refusal:
    command = MarkSeen(caller=OPERATOR, payment_id=payment_id, note="Called the bank.")
    return await rig.gateway.front.mark_seen(command)


async def audited(rig: BankRig, payment_id: str) -> list[tuple[str, str, str]]:
    """What operators did to the payment: who, what and why."""
    rows: Sequence[AuditRow] = await rig.store.audit_rows()
    entries = [row.entry for row in rows if row.entry.stream == payment_id]
    return [(each.who, each.what, each.why) for each in entries if each.who == "key:key_o"]


def code_of(answer: DeskEntry | Refusal) -> str | None:
    return answer.code if isinstance(answer, Refusal) else None


# ------------------------------------------------------------------ what is listed


async def test_an_untroubled_payment_leaves_no_trace_on_the_desk(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "success")

        assert (await desk(rig)).items == ()
        assert await rig.store.read_document(DESK, payment_id) is None


async def test_a_doubt_is_listed_with_its_next_check_and_the_end_of_its_key(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)

        found = await entry(rig)

        (call,) = found.calls
        now_us = rig.clock.now_us()
        assert (found.payment_id, found.merchant, found.status) == (payment_id, "m", "processing")
        assert (found.in_doubt, found.attention) == (True, None)
        assert found.since_us == call.started_at_us
        assert (call.operation, call.provider, call.amount_minor) == ("charge", "bank", 10_000)
        assert (call.standing, call.asks, call.last_answer) == ("in_doubt", 0, "reset")
        assert call.next_check_us is not None
        assert now_us < call.next_check_us <= now_us + 1_000_000
        assert call.key_window_ends_us == call.started_at_us + round(KEY_WINDOW_S) * 1_000_000
        assert call.can_resend
        assert found.actions == ("ask_again", "mark_not_charged")


async def test_what_is_known_again_is_off_the_desk(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)

        await rig.until_asked()
        await rig.until_status(payment_id, "success")

        assert (await desk(rig)).items == ()


async def test_the_desk_is_complete_after_a_crash(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["find"] = None
        known = await doubted(rig)
        rig.bank.says["charge"] = None
        unanswered = await rig.pay()
        await rig.until(lambda: len(rig.bank.of("charge")) == 2)
        rig.bank.says["charge"] = done
        paid = await rig.pay()
        await rig.until_status(paid, "success")
        await rig.crash()

        await rig.start()

        items = (await desk(rig)).items
        assert [each.payment_id for each in items] == [unanswered, known]
        assert all(each.calls[0].next_check_us or each.calls[0].asking for each in items)


async def test_the_desk_is_turned_page_by_page_while_payments_come(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["find"] = None
        made: list[str] = []
        for _ in range(5):
            made.append(await doubted(rig))
            rig.clock.advance(0.001)  # ids of one instant are in no order

        first = await desk(rig, limit=2)
        await doubted(rig)
        second = await desk(rig, limit=2, cursor=first.next_cursor)
        third = await desk(rig, limit=2, cursor=second.next_cursor)

        pages = [first.items, second.items, third.items]
        assert [each.payment_id for page in pages for each in page] == made[::-1]
        assert third.next_cursor is None


async def test_a_cursor_of_somebody_elses_is_refused(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        answer = await rig.gateway.front.in_doubt(OPERATOR, Filters(cursor="nonsense"))

        assert isinstance(answer, Refusal)
        assert answer.code == "validation_failed"


async def test_the_desk_is_proved_with_everything_else(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["find"] = None
        await doubted(rig)
        over = await doubted(rig)
        rig.bank.says["find"] = done
        await ask(rig, over)
        await rig.until_status(over, "success")

        found = [each async for each in prove_all(rig.store, None)]

        assert len(found) == 2
        assert [each.violations for each in found] == [[], []]


# ------------------------------------------------------------------ ask again


async def test_asking_applies_what_the_provider_says(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says["find"] = done

        answer = await ask(rig, payment_id)

        assert isinstance(answer, DeskEntry)
        assert (answer.status, answer.calls, answer.actions) == ("success", (), ())
        assert rig.bank.verbs() == ["charge", "find"]
        assert await audited(rig, payment_id) == [("key:key_o", "ask again", "")]
        assert rig.gauge('paygate_desk_actions_total{action="ask_again"}') == 1


async def test_asking_again_at_once_asks_nobody(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says |= {"find": Unknown(reason="timeout")}

        first = await ask(rig, payment_id)
        second = await ask(rig, payment_id)
        rig.clock.advance(1)
        await rig.until(lambda: len(rig.bank.of("find")) >= 1)
        third = await ask(rig, payment_id)

        answers = [each for each in (first, second, third) if isinstance(each, DeskEntry)]
        assert [each.calls[0].last_answer for each in answers] == ["timeout"] * 3
        assert len(rig.bank.of("find")) == 2
        assert len(await audited(rig, payment_id)) == 2


async def test_what_a_look_up_does_not_see_is_sent_again_under_the_same_key(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)

        await ask(rig, payment_id)
        await rig.until_status(payment_id, "success")

        assert rig.bank.verbs() == ["charge", "find", "charge"]
        assert len({call.key for call in rig.bank.heard}) == 1


async def test_a_bank_that_cannot_be_asked_is_asked_later(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says["find"] = done
        await rig.switch(is_active=False)

        answer = await ask(rig, payment_id)

        assert isinstance(answer, DeskEntry)
        assert answer.calls[0].next_check_us is not None
        await rig.switch(is_active=True)
        await rig.until_asked()
        await rig.until_status(payment_id, "success")


async def test_where_nothing_is_open_there_is_nothing_to_ask(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "success")

        assert code_of(await ask(rig, payment_id)) == "not_in_doubt"
        assert code_of(await ask(rig, "pay_nobody")) == "payment_not_found"
        assert await audited(rig, payment_id) == []


# ------------------------------------------------------------------ not charged


async def test_inside_the_key_window_it_may_still_succeed(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        before = len(rig.bank.of("charge"))

        answer = await not_charged(rig, payment_id)

        assert code_of(answer) == "still_may_succeed"
        assert len(rig.bank.of("find")) == 1
        assert len(rig.bank.of("charge")) == before
        assert (await rig.view(payment_id)).status == "processing"
        assert await audited(rig, payment_id) == []


async def test_past_the_window_it_is_set_asked_about_and_never_sent_again(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await forgotten(rig)
        charges = len(rig.bank.of("charge"))
        assert (await entry(rig)).attention == "in_doubt"

        answer = await not_charged(rig, payment_id)

        assert isinstance(answer, DeskEntry)
        assert answer.attention is None
        assert (answer.status, answer.in_doubt, answer.actions) == ("failed", True, ("ask_again",))
        assert answer.calls[0].asserted
        assert not answer.calls[0].can_resend
        view = await rig.view(payment_id)
        assert (view.status, view.in_doubt) == ("failed", True)
        await rig.until_asked(3)
        assert len(rig.bank.of("charge")) == charges
        assert await audited(rig, payment_id) == [
            ("key:key_o", "mark not charged", "Not in its records.")
        ]


async def test_marked_twice_is_marked_once(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await forgotten(rig)

        await not_charged(rig, payment_id)
        again = await not_charged(rig, payment_id)

        assert isinstance(again, DeskEntry)
        assert again.status == "failed"
        assert len(await audited(rig, payment_id)) == 1


async def test_the_mark_survives_a_crash_and_the_truth_still_wins(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await forgotten(rig)
        await not_charged(rig, payment_id)
        await rig.crash()

        await rig.start()
        assert (await rig.view(payment_id)).status == "failed"
        rig.bank.says["find"] = done
        await rig.until_asked()
        view = await rig.until_status(payment_id, "success")

        assert (view.in_doubt, view.attention) == (False, "assertion_overruled")
        assert view.amount_captured_minor == AMOUNT.minor


async def test_what_the_bank_says_when_asked_counts_and_goes_nowhere_else(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says["find"] = Declined(code="processing_error", retryable=True)

        answer = await not_charged(rig, payment_id)

        assert isinstance(answer, DeskEntry)
        assert (answer.status, answer.in_doubt) == ("failed", False)
        assert rig.bank.verbs() == ["charge", "find"]


async def test_what_the_bank_has_done_is_booked_and_the_mark_refused(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says["find"] = done

        answer = await not_charged(rig, payment_id)

        assert code_of(answer) == "provider_disagrees"
        assert (await rig.view(payment_id)).status == "success"
        [(_, what, _)] = await audited(rig, payment_id)
        assert what == "mark not charged: refused, provider_disagrees"


@pytest.mark.parametrize("active", [True, False])
async def test_a_bank_that_does_not_answer_changes_nothing(tmp_path: Path, *, active: bool):
    async with bank_rig(tmp_path) as rig:
        payment_id = await forgotten(rig)
        before = await rig.view(payment_id)
        rig.bank.says["find"] = Unknown(reason="timeout")
        await rig.switch(is_active=active)

        assert code_of(await not_charged(rig, payment_id)) == "provider_silent"
        assert await rig.view(payment_id) == before


async def test_a_forced_failure_is_not_sent_again_either(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        first = (await rig.view(payment_id)).transaction_id
        await rig.assert_failed(first)
        charges = len(rig.bank.of("charge"))

        await rig.until_asked(5)

        assert len(rig.bank.of("charge")) == charges
        view = await rig.view(payment_id)
        assert (view.status, view.in_doubt) == ("failed", True)


# ------------------------------------------------------------------ seen


async def mismatched(rig: BankRig) -> str:
    """A payment that was captured for another amount, and given back."""
    rig.bank.says["charge"] = lambda key: Approved(
        provider_txn_id=f"ch_{key}", amount=Money(9_999, "USD"), captured=True
    )
    rig.bank.says["void"] = lambda key: Approved(
        provider_txn_id=f"ch_{key}", amount=Money(9_999, "USD")
    )
    payment_id = await rig.pay()
    await rig.until_status(payment_id, "cancelled")
    return payment_id


async def test_what_was_seen_is_off_the_desk_also_after_a_crash(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await mismatched(rig)
        listed = await entry(rig)
        assert (listed.attention, listed.actions) == ("amount_mismatch", ("seen",))

        answer = await seen(rig, payment_id)
        again = await seen(rig, payment_id)
        await rig.crash()
        await rig.start()

        assert isinstance(answer, DeskEntry)
        assert answer == again
        assert (answer.attention, answer.concerns, answer.actions) == (None, (), ())
        assert (await desk(rig)).items == ()
        assert (await rig.view(payment_id)).attention is None
        assert await audited(rig, payment_id) == [("key:key_o", "seen", "Called the bank.")]


async def test_a_doubt_cannot_be_seen_away(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says["charge"] = Unknown(reason="key_known")
        await rig.pass_time(1_000)
        assert (await entry(rig)).attention == "in_doubt"

        assert code_of(await seen(rig, payment_id)) == "still_in_doubt"
        assert (await entry(rig)).attention == "in_doubt"


async def test_where_nothing_asks_for_a_person_there_is_nothing_to_see(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        rig.bank.says["find"] = None

        answer = await seen(rig, payment_id)

        assert isinstance(answer, DeskEntry)
        assert await audited(rig, payment_id) == []


# ------------------------------------------------------------------ what merchants read of it


async def histories(rig: BankRig, payment_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an operator reads of each kind of event, and what the payment's merchant does."""
    front = rig.gateway.front
    found = await front.events(OPERATOR, payment_id), await front.events(MERCHANT, payment_id)
    operators, merchants = (
        {} if isinstance(events, Refusal) else {event.type: event.data for event in events}
        for events in found
    )
    return operators, merchants


async def test_a_merchant_reads_that_a_person_looked_and_not_who_nor_the_note(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await mismatched(rig)
        await seen(rig, payment_id)

        operators, merchants = await histories(rig, payment_id)

        cleared = operators["attention_cleared"]
        assert (cleared["by"], cleared["note"]) == (OPERATOR.key_id, "Called the bank.")
        assert merchants["attention_cleared"] == {"up_to_seq": cleared["up_to_seq"]}


async def test_a_merchant_reads_what_an_operator_set_and_not_who_nor_why(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)
        await rig.assert_failed((await rig.view(payment_id)).transaction_id)

        operators, merchants = await histories(rig, payment_id)

        said = operators["status_asserted"]
        assert (said["by"], said["reason"]) == (OPERATOR.key_id, "The bank said so by telephone.")
        assert merchants["status_asserted"] == said | {"by": "", "reason": ""}


async def test_a_merchant_reads_an_operators_decision_and_not_who_nor_the_note(tmp_path: Path):
    async with bank_rig(tmp_path, fraud=Fraud(review_amount_usd_minor=1)) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "review")
        await rig.gateway.front.review(
            ReviewPayment(
                caller=OPERATOR, payment_id=payment_id, decision="approve", note="A known payer."
            )
        )

        operators, merchants = await histories(rig, payment_id)

        reviewed, capture = operators["reviewed"], operators["transaction_opened"]
        assert (reviewed["by"], reviewed["note"]) == (OPERATOR.key_id, "A known payer.")
        assert merchants["reviewed"] == reviewed | {"by": "", "note": ""}
        assert (capture["by"], capture["origin"]) == (OPERATOR.key_id, "operator")
        assert merchants["transaction_opened"] == capture | {"by": ""}


async def test_a_merchant_reads_which_key_of_its_own_made_a_refund(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "success")
        await rig.refund(payment_id, 2_500)

        operators, merchants = await histories(rig, payment_id)

        assert merchants["transaction_opened"]["by"] == MERCHANT.key_id
        assert merchants == operators


# ------------------------------------------------------------------ explain, and at an instant


async def explained(rig: BankRig, payment_id: str, caller: Caller = OPERATOR) -> Explanation:
    found = await rig.gateway.front.explain(caller, payment_id)
    assert isinstance(found, Explanation), found
    return found


async def test_an_explanation_knows_when_the_bank_is_asked_next(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await doubted(rig)

        found = await explained(rig, payment_id)
        merchants = await explained(rig, payment_id, MERCHANT)

        listed = (await entry(rig)).calls[0]
        assert found.calls == (listed,)
        assert found.ahead[0].at_us == listed.next_check_us
        assert merchants.calls[0].key is None
        await rig.until_asked()
        await rig.until_status(payment_id, "success")
        after = await explained(rig, payment_id)
        assert [each.action for each in after.ahead] == ["nothing"]


async def test_anothers_payment_is_explained_to_nobody(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        payment_id = await rig.pay()
        other = Caller(role="merchant", merchant="n", key_id="key_n")

        answers = [
            await rig.gateway.front.explain(other, payment_id),
            await rig.gateway.front.explain(OPERATOR, "pay_nobody"),
            await rig.gateway.front.payment_at(other, payment_id, rig.clock.now_us()),
        ]

        assert [getattr(each, "code", None) for each in answers] == ["payment_not_found"] * 3


async def test_a_payment_is_shown_as_it_was_at_each_instant(tmp_path: Path):
    async with bank_rig(tmp_path) as rig:
        started_us = rig.clock.now_us()
        payment_id = await doubted(rig)
        doubted_us = rig.clock.now_us()
        await rig.until_asked()
        await rig.until_status(payment_id, "success")
        rig.clock.advance(60)
        await rig.refund(payment_id, 2_500)
        await rig.until(lambda: len(rig.bank.of("refund")) == 1)
        now = await rig.view(payment_id)

        async def at(at_us: int) -> PaymentView | Refusal:
            return await rig.gateway.front.payment_at(MERCHANT, payment_id, at_us)

        before, then = await at(started_us - 1), await at(doubted_us)
        assert isinstance(before, Refusal)
        assert before.code == "payment_not_found"
        assert isinstance(then, PaymentView)
        assert (then.status, then.in_doubt, then.processed_at_us) == ("processing", True, None)
        paid = await at(rig.clock.now_us() - 1)
        assert isinstance(paid, PaymentView)
        assert (paid.status, paid.amount_refunded_minor) == ("success", 0)
        assert await at(rig.clock.now_us() + 10**12) == now
