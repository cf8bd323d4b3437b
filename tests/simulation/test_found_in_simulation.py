"""What simulated worlds found, each as the shortest history that shows it."""

import pytest
from msgspec.structs import replace

from paygate_actors import events as e
from paygate_actors.draft import Context, Draft
from paygate_actors.evolving import evolve
from paygate_actors.facts import correct, passed, reported, said
from paygate_actors.messages import Caller, Failure, MethodView, SetTransactionStatus
from paygate_actors.money import Money
from paygate_actors.outcomes import Approved, Declined
from paygate_actors.projection import INBOX, Cause, charge_link, unit
from paygate_actors.providers.base import ProviderEvent
from paygate_actors.record import Payment
from paygate_engine.stores.base import Done

PAYMENT_ID = "pay_00000000000000000000000001"
CTX = Context(now_us=1_000_000, routes=("sandbox",))


def fold(*events: e.PaymentEvent) -> Payment:
    payment: Payment | None = None
    for event in events:
        payment = evolve(payment, event, id=PAYMENT_ID, at_us=0)
    assert payment is not None
    return payment


def charging(*, hold: bool = False) -> tuple[e.PaymentEvent, ...]:
    """How every history here begins: 9.00 that are being taken, or held, at provider `s`."""
    return (
        e.PaymentCreated(
            merchant="m",
            by="key_1",
            transaction_id="txn_1",
            amount_minor=900,
            currency="USD",
            capture_method="manual" if hold else "automatic",
            method=MethodView(kind="wallet", wallet_id="wallet_ok"),
            livemode=False,
        ),
        e.CallStarted(
            key="txn_1-1",
            transaction_id="txn_1",
            verb="authorize" if hold else "charge",
            provider="s",
            amount_minor=900,
        ),
        e.Moved(fact="charge_started"),
    )


def refunded() -> Payment:
    """A captured payment whose one refund has succeeded."""
    return fold(
        *charging(),
        e.CallApproved(
            key="txn_1-1", provider_txn_id="ch", amount_minor=900, currency="USD", captured=True
        ),
        e.Moved(fact="captured"),
        e.TransactionOpened(
            id="txn_2", type="refund", origin="merchant", amount_minor=300, currency="USD", by="k"
        ),
        e.CallStarted(
            key="txn_2-1",
            transaction_id="txn_2",
            verb="refund",
            provider="s",
            amount_minor=300,
            target="ch",
        ),
        e.CallApproved(key="txn_2-1", provider_txn_id="re", amount_minor=300, currency="USD"),
        e.TransactionSettled(id="txn_2", status="success"),
    )


def test_a_resent_refund_that_was_not_looked_at_takes_nothing_back():
    """Its first request has succeeded; the answer "too many requests" is about the second."""
    draft = Draft(PAYMENT_ID, refunded(), 1_000_000)
    call = draft.payment.call("txn_2-1")
    assert call is not None

    unread = Declined(code="too_many_requests", retryable=True, conclusive=False)
    said(draft, call, unread, CTX)

    assert draft.events == []


def test_a_refund_that_the_provider_takes_back_fails():
    draft = Draft(PAYMENT_ID, refunded(), 1_000_000)
    call = draft.payment.call("txn_2-1")
    assert call is not None

    said(draft, call, Declined(code="account_closed"), CTX, at_us=5)

    txn = draft.payment.txn("txn_2")
    assert txn is not None and txn.status == "failed"
    assert draft.payment.attention == "refund_failed"


def test_a_refund_that_is_said_twice_is_booked_once():
    draft = Draft(PAYMENT_ID, refunded(), 1_000_000)
    call = draft.payment.call("txn_2-1")
    assert call is not None

    said(draft, call, Approved(provider_txn_id="re", amount=Money(300, "USD")), CTX)

    assert draft.events == []


def held() -> Payment:
    """A payment whose funds are held, and whose capture is under way."""
    return fold(
        *charging(hold=True),
        e.CallApproved(key="txn_1-1", provider_txn_id="ch", amount_minor=900, currency="USD"),
        e.Moved(fact="authorized"),
        e.TransactionOpened(
            id="txn_2", type="capture", origin="merchant", amount_minor=900, currency="USD", by="k"
        ),
        e.CallStarted(
            key="txn_2-1",
            transaction_id="txn_2",
            verb="capture",
            provider="s",
            amount_minor=900,
            target="ch",
        ),
    )


def test_a_capture_of_another_amount_is_not_taken_for_the_providers_own_capture():
    """The look-up of the hold says "captured" too, with the amount of the hold."""
    draft = Draft(PAYMENT_ID, held(), 1_000_000)
    capture = draft.payment.call("txn_2-1")
    assert capture is not None
    said(draft, capture, Approved(provider_txn_id="ch", amount=Money(901, "USD")), CTX)
    assert draft.payment.attention == "amount_mismatch"
    before = len(draft.events)

    hold = draft.payment.call("txn_1-1")
    assert hold is not None
    found = Approved(provider_txn_id="ch", amount=Money(900, "USD"), captured=True)
    said(draft, hold, found, CTX)

    assert draft.events[before:] == []
    assert draft.payment.status == "authorized"
    assert draft.payment.captured_minor == 901


def test_a_declined_attempt_is_found_by_the_id_that_its_provider_gave_it():
    """A webhook that names nothing else may say that it succeeded after all."""
    started = fold(*charging())
    draft = Draft(PAYMENT_ID, started, 1_000_000)
    call = draft.payment.call("txn_1-1")
    assert call is not None

    said(draft, call, Declined(code="card_declined", provider_txn_id="ch_1"), CTX)
    written = unit(draft, seq=3, at_us=1_000_000, cause=Cause(who="test", what="test"))

    links = [link for document in written.documents for link in document.links]
    assert (charge_link("s"), "ch_1") in links


def disputed(draft: Draft, event_type: str, at_us: int, *, won: bool | None = None) -> None:
    event = ProviderEvent(
        event_id=f"evt_{at_us}",
        event_type=event_type,
        provider_txn_id="ch",
        reference="txn_1-1",
        amount=Money(300, "USD"),
        dispute_won=won,
        at_us=at_us,
    )
    reported(draft, event, "s", CTX)


@pytest.mark.parametrize("end", ["cancelled", "success"])
def test_a_dispute_that_was_opened_anew_and_is_over_is_not_opened_by_late_news(end: str):
    """Nobody would close it again: what it holds back would be held for ever."""
    draft = Draft(PAYMENT_ID, refunded(), 1_000_000)
    disputed(draft, "dispute.opened", 1)
    disputed(draft, "dispute.closed", 2, won=end == "cancelled")
    disputed(draft, "dispute.closed", 4, won=end == "cancelled")

    disputed(draft, "dispute.opened", 3)

    chargebacks = [txn for txn in draft.payment.txns if txn.type == "chargeback"]
    assert [txn.status for txn in chargebacks] == [end]


def in_doubt_with_a_reverse() -> Payment:
    """A charge that nobody knows the end of, a reverse that waits for it, an operator's word."""
    return fold(
        *charging(),
        e.CallInDoubt(key="txn_1-1", reason="timeout"),
        e.TransactionOpened(
            id="txn_2", type="reverse", origin="merchant", amount_minor=900, currency="USD", by="k"
        ),
        e.StatusAsserted(transaction_id="txn_1", status="success", reason="r", by="op"),
    )


def test_an_operators_word_on_the_charge_does_not_hide_a_reverse_that_waits_for_it():
    """Nothing would ever end it: the charge is not sent again, and nobody would be called."""
    draft = Draft(PAYMENT_ID, in_doubt_with_a_reverse(), 1_000_000)

    passed(draft, replace(CTX, now_us=10**10))

    assert draft.payment.attention == "in_doubt"


def test_an_operators_word_on_everything_that_is_open_calls_nobody():
    draft = Draft(PAYMENT_ID, in_doubt_with_a_reverse(), 1_000_000)
    draft.add(e.StatusAsserted(transaction_id="txn_2", status="failed", reason="r", by="op"))

    passed(draft, replace(CTX, now_us=10**10))

    assert draft.payment.attention is None


def failed_over() -> Payment:
    """A charge that its first provider declined, and that is under way at the second."""
    return fold(
        *charging(),
        e.CallDeclined(key="txn_1-1", failure=Failure(code="api_error", message="")),
        e.CallStarted(
            key="txn_1-2", transaction_id="txn_1", verb="charge", provider="t", amount_minor=900
        ),
    )


def test_an_answer_about_the_first_attempt_is_not_taken_for_one_about_the_second():
    """An operator's correction asked about the first; while the answer came it failed over."""
    draft = Draft(PAYMENT_ID, failed_over(), 1_000_000)
    command = SetTransactionStatus(
        caller=Caller(role="operator", merchant="", key_id="op"),
        transaction_id="txn_1",
        status="failed",
        reason="r",
    )

    answer = correct(draft, command, Declined(code="api_error"), CTX, key="txn_1-1")

    assert answer.refusal is not None and answer.refusal.code == "provider_disagrees"
    assert draft.payment.status == "processing"
    second = draft.payment.call("txn_1-2")
    assert second is not None and second.state == "open"


def test_a_charge_that_was_settled_before_its_void_is_known_before_it_is_given_back():
    """It may be of another amount than ours: what is left of it would be kept for ever."""
    confirming = fold(
        *charging(),
        e.ActionRequested(key="txn_1-1", provider_txn_id="ch", url="https://s", expires_at_us=1),
        e.Moved(fact="action_required", expires_at_us=1),
    )
    draft = Draft(PAYMENT_ID, confirming, 1_000_000)
    passed(draft, CTX)
    void = draft.payment.calls[-1]
    assert void.verb == "void"

    said(draft, void, Declined(code="already_settled"), CTX)

    assert draft.payment.calls[-1].verb == "void"  # no refund of an amount that is only ours
    charge = draft.payment.call("txn_1-1")
    assert charge is not None
    said(
        draft, charge, Approved(provider_txn_id="ch", amount=Money(901, "USD"), captured=True), CTX
    )
    again = draft.payment.calls[-1]
    assert (again.verb, again.amount_minor) == ("void", 901)
    said(draft, again, Declined(code="already_settled"), CTX)
    assert (draft.payment.calls[-1].verb, draft.payment.calls[-1].amount_minor) == ("refund", 901)


def test_a_decision_without_an_event_leaves_the_payments_documents_alone():
    """Nothing would conflict: what another node has recorded meanwhile would be written over."""
    draft = Draft(PAYMENT_ID, refunded(), 1_000_000, epoch=1)

    done = Done(queue=INBOX, id="sandbox/evt", at_us=1_000_000)
    written = unit(
        draft, seq=9, at_us=1_000_000, cause=Cause(who="test", what="test"), done=(done,), epoch=1
    )

    assert written.documents == ()
    assert written.done == (done,)
