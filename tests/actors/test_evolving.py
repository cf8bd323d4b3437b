"""What each recorded event changes in a payment, and that it changes nothing else."""

import pytest
from evolving_cases import (
    BROKE,
    CREATED,
    ID,
    KEY,
    NOW_US,
    PRICE,
    TXN,
    approved,
    changed,
    fold,
    opened,
    started,
    then,
    with_call,
    with_txn,
)
from msgspec.structs import replace

from paygate_actors import events as e
from paygate_actors.evolving import CONCERNS_MAX, evolve
from paygate_actors.record import IN_DOUBT, Call, Concern, Payment, Txn
from paygate_actors.states import IllegalTransition


def test_a_payment_begins_as_its_creation_says():
    first = Txn(
        id=TXN,
        type="payment",
        origin="merchant",
        status="pending",
        amount_minor=PRICE,
        currency="USD",
        created_at_us=NOW_US,
        updated_at_us=NOW_US,
    )

    payment = evolve(None, CREATED, id=ID, at_us=NOW_US)

    assert payment == Payment(
        id=ID,
        created=CREATED,
        created_at_us=NOW_US,
        updated_at_us=NOW_US,
        status="pending",
        txns=(first,),
    )


def test_a_stream_that_does_not_begin_with_its_creation_is_no_payment():
    with pytest.raises(TypeError, match=f"{ID} does not begin with its creation"):
        evolve(None, started(), id=ID, at_us=NOW_US)


def test_a_payment_is_created_once():
    with pytest.raises(TypeError, match=f"{ID} was created twice"):
        then(fold(CREATED), CREATED)


def test_an_event_of_a_call_that_never_started_names_payment_and_key():
    with pytest.raises(TypeError, match=f"{ID} has no call {KEY}"):
        then(fold(CREATED), approved())


def test_a_fact_that_the_table_does_not_know_moves_nothing():
    with pytest.raises(IllegalTransition, match="captured does not move a payment that is pending"):
        then(fold(CREATED), e.Moved(fact="captured"))


def test_the_check_is_kept_whole():
    before = fold(CREATED)
    check = e.FraudScored(score_milli=310, risk_level="medium", factors=("velocity",))

    assert then(before, check) == changed(before, fraud=check)


def test_a_started_charge_stands_under_its_key_at_its_provider():
    before = fold(CREATED)
    call = Call(
        key=KEY,
        transaction_id=TXN,
        verb="charge",
        provider="a",
        amount_minor=PRICE,
        started_at_us=NOW_US,
    )

    assert then(before, started()) == changed(
        before, calls=(call,), provider="a", txns=with_txn(before, provider="a")
    )


def test_a_call_that_is_no_charge_leaves_the_payment_with_the_provider_of_its_charge():
    before = fold(CREATED, started(), approved(), opened())
    refund = started("refund", key="txn_2-1", txn="txn_2", provider="b", minor=400, target="ch_1")
    call = Call(
        key="txn_2-1",
        transaction_id="txn_2",
        verb="refund",
        provider="b",
        amount_minor=400,
        target="ch_1",
        started_at_us=NOW_US,
    )

    assert then(before, refund) == changed(
        before, calls=(*before.calls, call), txns=with_txn(before, 1, provider="b")
    )


def test_doubt_belongs_to_its_call_alone():
    before = fold(CREATED, started(), started(key="txn_1-2", provider="b"))

    after = then(before, e.CallInDoubt(key=KEY, reason="timeout"))

    assert after == changed(before, calls=with_call(before, in_doubt=True))


def test_an_answer_that_promises_another_one_ends_the_doubt_and_keeps_when_it_is_due():
    before = fold(CREATED, started(), e.CallInDoubt(key=KEY, reason="timeout"))

    after = then(before, e.CallPending(key=KEY, provider_txn_id="ch_1", expected_by_us=7))

    calls = with_call(
        before, state="pending", in_doubt=False, provider_txn_id="ch_1", expected_by_us=7
    )
    assert after == changed(before, calls=calls)


def test_a_confirmation_that_is_asked_for_is_kept_with_its_address_and_its_end():
    before = fold(CREATED, started(), e.CallInDoubt(key=KEY, reason="timeout"))
    asked = e.ActionRequested(
        key=KEY, provider_txn_id="ch_1", url="https://bank.example", expires_at_us=7
    )

    after = then(before, asked)

    calls = with_call(
        before,
        state="action",
        in_doubt=False,
        provider_txn_id="ch_1",
        expires_at_us=7,
        url="https://bank.example",
    )
    assert after == changed(before, calls=calls, provider_txn_id="ch_1", expires_at_us=7)


@pytest.mark.parametrize(
    ("captured", "taken", "released"), [(True, 9_000, 0), (False, 0, 0)], ids=["charge", "hold"]
)
def test_an_approval_counts_what_the_provider_says_that_it_took_or_holds(
    *, captured: bool, taken: int, released: int
):
    before = fold(
        CREATED,
        started(),
        e.CallInDoubt(key=KEY, reason="timeout"),
        e.StatusAsserted(transaction_id=TXN, status="failed", reason="bank", by="key_o"),
    )

    after = then(before, approved(9_000, captured=captured))

    calls = with_call(
        before,
        state="approved",
        in_doubt=False,
        provider_txn_id="ch_1",
        captured=captured,
        confirmed_minor=9_000,
        differs=True,
    )
    assert after == changed(
        before,
        calls=calls,
        txns=with_txn(before, provider_txn_id="ch_1", asserted=None),
        provider="a",
        provider_txn_id="ch_1",
        authorized_minor=9_000,
        captured_minor=taken,
        released_minor=released,
    )


@pytest.mark.parametrize(
    ("minor", "currency", "differs"),
    [(PRICE, "USD", False), (PRICE - 1, "USD", True), (PRICE, "EUR", True), (1, "EUR", True)],
)
def test_another_amount_or_another_currency_than_asked_for_is_marked(
    *, minor: int, currency: str, differs: bool
):
    after = then(fold(CREATED, started()), approved(minor, currency=currency))

    assert after.calls[0].differs is differs


def test_a_hold_that_the_provider_captures_by_itself_releases_what_it_leaves():
    before = fold(CREATED, started("authorize"), approved(captured=False))

    after = then(before, approved(9_000))

    assert (after.authorized_minor, after.captured_minor, after.released_minor) == (
        PRICE,
        9_000,
        1_000,
    )


def test_a_provider_that_captures_more_than_it_held_has_held_as_much():
    before = fold(CREATED, started("authorize"), approved(captured=False))

    after = then(before, approved(PRICE + 500))

    assert (after.authorized_minor, after.captured_minor, after.released_minor) == (
        PRICE + 500,
        PRICE + 500,
        0,
    )


def test_what_another_provider_approves_later_stands_in_place_of_what_was_undone():
    before = fold(
        CREATED,
        started("authorize"),
        approved(captured=False),
        e.CallDeclined(key=KEY, failure=BROKE),
        started("authorize", key="txn_1-2", provider="b"),
    )

    after = then(before, approved(9_000, key="txn_1-2", captured=False))

    assert (after.provider, after.authorized_minor) == ("b", 9_000)


def test_the_payment_is_with_the_provider_that_approved_not_with_the_one_asked_last():
    before = fold(CREATED, started(), started(key="txn_1-2", provider="b"))

    after = then(before, approved())

    assert before.provider == "b"
    assert after.provider == "a"


def test_money_that_comes_after_a_decline_is_no_money_of_the_payment():
    before = fold(CREATED, started(), e.CallDeclined(key=KEY, failure=BROKE))

    after = then(before, approved())

    calls = with_call(
        before, state="approved", provider_txn_id="ch_1", captured=True, confirmed_minor=PRICE
    )
    assert after == changed(before, calls=calls, txns=with_txn(before))


def test_money_of_an_attempt_that_was_given_up_ends_no_operator_s_word_about_the_payment():
    said = e.StatusAsserted(transaction_id=TXN, status="failed", reason="No.", by="key_o")
    before = fold(CREATED, started(), e.CallDeclined(key=KEY, failure=BROKE), said)

    after = then(before, approved())

    assert after.txns[0].asserted == "failed"


@pytest.mark.parametrize(
    ("minor", "held", "released"), [(4_000, PRICE, 6_000), (PRICE + 500, PRICE + 500, 0)]
)
def test_a_capture_takes_its_amount_and_releases_the_rest(minor: int, held: int, released: int):
    before = fold(
        CREATED,
        started("authorize"),
        approved(captured=False),
        e.Moved(fact="charge_started"),
        e.Moved(fact="authorized"),
        opened(type="capture", minor=minor),
        started("capture", key="txn_2-1", txn="txn_2", minor=minor, target="ch_1"),
    )

    after = then(before, approved(minor, key="txn_2-1"))

    assert (after.authorized_minor, after.captured_minor, after.released_minor) == (
        held,
        minor,
        released,
    )


def test_an_approved_refund_leaves_what_was_captured_as_it_was():
    before = fold(
        CREATED,
        started(),
        approved(),
        opened(),
        started("refund", key="txn_2-1", txn="txn_2", minor=400, target="ch_1"),
    )

    after = then(before, approved(400, key="txn_2-1"))

    calls = with_call(
        before,
        1,
        state="approved",
        provider_txn_id="ch_1",
        captured=True,
        confirmed_minor=400,
    )
    assert after == changed(before, calls=calls, txns=with_txn(before, 1, provider_txn_id="ch_1"))


def test_a_void_gives_everything_back_and_ends_the_charge_but_no_other_call():
    before = fold(
        CREATED,
        started(),
        approved(),
        e.CallPending(key=KEY, provider_txn_id="ch_1"),
        e.CallInDoubt(key=KEY, reason="timeout"),
        opened(),
        started("refund", key="txn_2-1", txn="txn_2", minor=400, target="ch_1"),
        opened("txn_3", "reverse", PRICE),
        started("void", key="txn_3-1", txn="txn_3", target="ch_1"),
    )

    after = then(before, approved(key="txn_3-1", captured=False))

    assert (after.authorized_minor, after.captured_minor, after.released_minor) == (
        PRICE,
        0,
        PRICE,
    )
    charge, refund, void = after.calls
    assert charge == replace(before.calls[0], state="declined", in_doubt=False)
    assert refund == before.calls[1]
    assert void.state == "approved"


def test_a_void_leaves_a_charge_that_was_answered_with_its_answer():
    before = fold(
        CREATED,
        started(),
        approved(),
        opened("txn_2", "reverse", PRICE),
        started("void", key="txn_2-1", txn="txn_2", target="ch_1"),
    )

    after = then(before, approved(key="txn_2-1", captured=False))

    assert after.calls[0] == before.calls[0]


@pytest.mark.parametrize(("provider", "target"), [("b", "ch_1"), ("a", "ch_2")])
def test_a_void_of_a_stray_leaves_the_money_of_the_payment(provider: str, target: str):
    before = fold(
        CREATED,
        started(),
        approved(),
        replace(opened("txn_2", "reverse", PRICE), stray_id="txn_3"),
        started("void", key="txn_2-1", txn="txn_2", provider=provider, target=target),
    )

    after = then(before, approved(key="txn_2-1", captured=False))

    assert (after.captured_minor, after.released_minor) == (PRICE, 0)


@pytest.mark.parametrize(("said", "kept"), [("ch_2", "ch_2"), (None, "ch_1")])
def test_a_decline_ends_the_doubt_and_an_operators_word_and_keeps_the_providers_name(
    said: str | None, kept: str
):
    before = fold(
        CREATED,
        started(),
        e.CallPending(key=KEY, provider_txn_id="ch_1"),
        e.CallInDoubt(key=KEY, reason="timeout"),
        e.StatusAsserted(transaction_id=TXN, status="success", reason="bank", by="key_o"),
    )

    after = then(before, e.CallDeclined(key=KEY, failure=BROKE, provider_txn_id=said))

    assert after == changed(
        before,
        calls=with_call(
            before,
            state="declined",
            in_doubt=False,
            declined=BROKE.code,
            provider_txn_id=kept,
        ),
        txns=with_txn(before, asserted=None),
    )


def test_a_move_that_ends_nothing_leaves_the_transaction_open():
    before = fold(CREATED, started())

    after = then(before, e.Moved(fact="charge_started"))

    assert after == changed(before, status="processing")


def test_a_state_that_ends_by_itself_says_when():
    before = fold(CREATED, e.Moved(fact="charge_started"))

    after = then(before, e.Moved(fact="authorized", expires_at_us=7))

    assert after == changed(before, status="authorized", expires_at_us=7)


def test_the_end_of_a_payment_is_the_end_of_its_first_transaction():
    before = fold(
        CREATED,
        e.Moved(fact="charge_started"),
        e.StatusAsserted(transaction_id=TXN, status="success", reason="bank", by="key_o"),
    )

    after = then(before, e.Moved(fact="failed", failure=BROKE))

    assert after == changed(
        before,
        status="failed",
        failure=BROKE,
        processed_at_us=NOW_US,
        txns=with_txn(before, status="failed", failure=BROKE, asserted=None),
    )


def test_a_reversal_clears_the_sums_and_leaves_when_the_payment_was_first_done():
    before = fold(
        CREATED,
        started(),
        approved(),
        e.Moved(fact="charge_started"),
        e.Moved(fact="captured"),
    )

    after = then(before, e.Moved(fact="cancelled"))

    assert before.processed_at_us == 5
    assert after == changed(
        before,
        status="cancelled",
        captured_minor=0,
        released_minor=PRICE,
        txns=with_txn(before, status="cancelled"),
    )


def test_a_transaction_is_opened_with_everything_that_was_recorded_of_it():
    before = fold(CREATED)
    key = e.RequestKey(name="n", mac="m")

    after = then(
        before,
        e.TransactionOpened(
            id="txn_2",
            type="reverse",
            origin="provider",
            amount_minor=400,
            currency="EUR",
            by="key_m",
            status="success",
            provider="b",
            provider_txn_id="ch_2",
            reason="returned",
            requested_minor=500,
            or_refund=True,
            key=key,
            fact_at_us=7,
            stray_id="txn_9",
        ),
    )

    txn = Txn(
        id="txn_2",
        type="reverse",
        origin="provider",
        status="success",
        amount_minor=400,
        currency="EUR",
        created_at_us=NOW_US,
        updated_at_us=NOW_US,
        provider="b",
        provider_txn_id="ch_2",
        reason="returned",
        requested_minor=500,
        or_refund=True,
        key=key,
        fact_at_us=7,
        stray_id="txn_9",
    )
    assert after == changed(before, txns=(*before.txns, txn))


def test_a_settlement_says_the_last_word_on_its_transaction_alone():
    before = fold(
        CREATED,
        opened(),
        e.StatusAsserted(transaction_id="txn_2", status="failed", reason="bank", by="key_o"),
    )
    said: dict[str, object] = {
        "status": "success",
        "failure": BROKE,
        "provider_txn_id": "re_1",
        "amount_minor": 390,
        "fact_at_us": 7,
    }

    after = then(before, e.TransactionSettled(id="txn_2", **said))  # pyright: ignore[reportArgumentType]

    assert after == changed(before, txns=with_txn(before, 1, asserted=None, **said))


def test_what_a_settlement_does_not_say_stays_as_it_was_recorded():
    before = fold(
        CREATED,
        opened(),
        e.TransactionSettled(
            id="txn_2", status="pending", provider_txn_id="re_1", amount_minor=390, fact_at_us=7
        ),
    )

    after = then(before, e.TransactionSettled(id="txn_2", status="success"))

    assert after == changed(before, txns=with_txn(before, 1, status="success"))


def test_an_operators_word_stands_beside_the_status_and_not_in_its_place():
    before = fold(CREATED, opened())

    after = then(
        before,
        e.StatusAsserted(transaction_id="txn_2", status="failed", reason="bank", by="key_o"),
    )

    assert after == changed(before, txns=with_txn(before, 1, asserted="failed"))


def test_a_review_is_history_and_changes_nothing_by_itself():
    before = fold(CREATED)

    assert then(before, e.Reviewed(decision="approve", note="seen", by="key_o")) == changed(before)


def test_a_person_is_called_by_code_and_detail_and_by_the_event_that_called():
    before = fold(CREATED)

    after = then(before, e.AttentionRaised(code="stray", detail="ch_2"))

    concern = Concern(code="stray", detail="ch_2", seq=2, at_us=NOW_US)
    assert after == changed(before, concerns=(concern,))


def test_what_is_raised_again_is_kept_once_and_as_the_newest():
    stray = e.AttentionRaised(code="stray", detail="ch_2")
    other = e.AttentionRaised(code="stray", detail="ch_3")
    dispute = e.AttentionRaised(code="disputed", detail="ch_2")
    before = fold(CREATED, stray, other, dispute)

    after = then(before, stray)

    again = Concern(code="stray", detail="ch_2", seq=5, at_us=NOW_US)
    assert after == changed(before, concerns=(*before.concerns[1:], again))


def test_a_person_has_seen_what_was_raised_up_to_the_event_that_they_knew_of():
    raised = [e.AttentionRaised(code=code) for code in ("stray", "disputed", IN_DOUBT, "return")]
    before = fold(CREATED, *raised)

    after = then(before, e.AttentionCleared(up_to_seq=4, by="key_o"))

    stray, disputed, doubt, later = before.concerns
    seen = (replace(stray, seen=True), replace(disputed, seen=True))
    assert after == changed(before, concerns=(*seen, doubt, later))


def test_where_there_are_too_many_what_was_seen_goes_first_and_then_the_oldest():
    codes = [IN_DOUBT, *(f"code_{number}" for number in range(1, CONCERNS_MAX))]
    raised = [e.AttentionRaised(code=code) for code in codes]
    full = fold(CREATED, *raised, e.AttentionCleared(up_to_seq=3, by="key_o"))
    doubt, seen, *others = full.concerns
    assert (doubt.seen, seen.seen) == (False, True)

    one_more = then(full, e.AttentionRaised(code="new_1"))
    two_more = then(one_more, e.AttentionRaised(code="new_2"))

    assert one_more.concerns[:-1] == (doubt, *others)
    assert two_more.concerns[:-2] == tuple(others)
    assert [each.code for each in two_more.concerns[-2:]] == ["new_1", "new_2"]


def test_the_end_of_a_doubt_takes_its_concern_along_and_no_other():
    before = fold(CREATED, e.AttentionRaised(code="stray"), e.AttentionRaised(code=IN_DOUBT))

    after = then(before, e.AttentionCleared())

    assert after == changed(before, concerns=before.concerns[:1])
