"""What a payment's events prove: every rule is broken once, and what is allowed is let through."""

from typing import Any

import pytest
from msgspec.structs import replace

from paygate_actors import events as e
from paygate_actors.draft import Draft
from paygate_actors.messages import Failure, MethodView
from paygate_actors.projection import KINDS, Cause, documents, unit
from paygate_actors.proof import (
    Proof,
    Rule,
    prove,
    prove_claim,
    prove_documents,
    prove_tally,
    prove_wake,
)
from paygate_actors.proof_books import BooksUnreadable, prove_books, read_books
from paygate_actors.proving import prove_all, prove_one
from paygate_engine.chain import Chain, Head
from paygate_engine.errors import NotFound
from paygate_engine.stores.base import Claim, Event, Unit
from paygate_engine.stores.memory import MemoryStore

PAYMENT = "pay_1"
FIRST = "txn_1"
BUSY = Failure(code="processing_error", message="No.", retryable=True)
KEY = e.RequestKey(name="m\x1fprocess\x1f1", mac="00")

CREATED = e.PaymentCreated(
    merchant="m",
    by="key_m",
    transaction_id=FIRST,
    amount_minor=1_000,
    currency="USD",
    capture_method="automatic",
    method=MethodView(kind="wallet"),
    livemode=False,
    key=KEY,
)


def started(key: str, verb: e.Verb = "charge", **changes: Any) -> e.CallStarted:
    fields: dict[str, Any] = {"provider": "bank", "amount_minor": 1_000}
    fields |= {"transaction_id": key.rpartition("-")[0], **changes}
    return e.CallStarted(key=key, verb=verb, **fields)


def approved(key: str, minor: int = 1_000, *, at: str = "ch_1", captured: bool = True) -> Any:
    return e.CallApproved(
        key=key, provider_txn_id=at, amount_minor=minor, currency="USD", captured=captured
    )


def refund(number: int, minor: int, origin: Any = "merchant") -> tuple[e.PaymentEvent, ...]:
    txn = f"txn_r{number}"
    opened = e.TransactionOpened(
        id=txn, type="refund", origin=origin, amount_minor=minor, currency="USD", by="x"
    )
    if origin == "provider":
        return opened, e.TransactionSettled(id=txn, status="success")
    call = started(f"{txn}-1", "refund", amount_minor=minor, target="ch_1")
    done = approved(f"{txn}-1", minor, at=f"re_{number}", captured=False)
    return opened, call, done, e.TransactionSettled(id=txn, status="success")


MOVING = e.Moved(fact="charge_started")
CHARGED = (CREATED, started("txn_1-1"), MOVING, approved("txn_1-1"), e.Moved(fact="captured"))


def rows(*recorded: e.PaymentEvent) -> list[Event]:
    encoded = map(e.encode, recorded)
    return [
        Event(stream=PAYMENT, seq=seq, at_us=seq, kind=kind, body=body)
        for seq, (kind, body) in enumerate(encoded, start=1)
    ]


def proof_of(*recorded: e.PaymentEvent) -> Proof:
    return prove(PAYMENT, rows(*recorded))


def rules(proof: Proof) -> list[Rule]:
    return [each.rule for each in proof.violations]


def line(key: str | None = "txn_1-1", operation: str = "charge", **changes: Any) -> str:
    fields: dict[str, Any] = {"providerTxnID": "ch_1", "amountMinor": 1_000, "currency": "USD"}
    fields |= changes
    quoted = "null" if key is None else f'"{key}"'
    return (
        f'{{"provider":"bank","operation":"{operation}","idempotencyKey":{quoted},'
        f'"providerTxnID":"{fields["providerTxnID"]}","amountMinor":{fields["amountMinor"]},'
        f'"currency":"{fields["currency"]}","outcome":"succeeded",'
        f'"at":"2026-01-01T00:00:00.000001Z"}}'
    )


def held_against(proof: Proof, *lines: str) -> list[Rule]:
    books = read_books(f'{{"data":[{",".join(lines)}]}}'.encode())
    prove_books(proof, books)
    return [*rules(proof), *(each.rule for each in books.left_over())]


def test_a_sound_history_breaks_no_rule():
    proof = proof_of(*CHARGED, *refund(1, 400), *refund(2, 600))

    assert rules(proof) == []
    assert (
        held_against(
            proof,
            line(),
            line("txn_r1-1", "refund", providerTxnID="re_1", amountMinor=400),
            line("txn_r2-1", "refund", providerTxnID="re_2", amountMinor=600),
        )
        == []
    )


def test_a_gap_in_the_sequence_is_named():
    events = rows(*CHARGED)

    proof = prove(PAYMENT, [*events[:2], *events[3:]])

    assert [(each.rule, each.text) for each in proof.violations] == [
        ("sequence", "event 3 is missing: event 4 follows")
    ]


def test_a_listed_payment_without_events_is_named():
    assert rules(prove(PAYMENT, [])) == ["sequence"]


@pytest.mark.parametrize(
    "recorded",
    [
        (started("txn_1-1"),),
        (CREATED, CREATED),
        (*CHARGED, e.Moved(fact="failed")),
    ],
)
def test_events_that_do_not_fold_are_named(recorded: tuple[e.PaymentEvent, ...]):
    assert rules(proof_of(*recorded)) == ["fold"]


@pytest.mark.parametrize(("kind", "body"), [("unheard_of.1", b"{}"), ("payment_moved.1", b"{")])
def test_events_that_cannot_be_read_are_named(kind: str, body: bytes):
    odd = Event(stream=PAYMENT, seq=2, at_us=2, kind=kind, body=body)

    assert rules(prove(PAYMENT, [*rows(CREATED), odd])) == ["fold"]


def test_two_effects_under_one_key_are_named():
    assert rules(proof_of(*CHARGED, approved("txn_1-1"))) == ["one effect per key"]


def test_a_hold_that_its_provider_captured_is_one_effect():
    held = started("txn_1-1", "authorize")
    again = approved("txn_1-1")

    proof = proof_of(CREATED, held, MOVING, approved("txn_1-1", captured=False), again)

    assert rules(proof) == []


@pytest.mark.parametrize(
    "orphan",
    [
        approved("txn_1-2"),
        e.CallInDoubt(key="txn_1-2", reason="timeout"),
        e.CallDeclined(key="txn_1-2", failure=BUSY),
        e.TransactionSettled(id="txn_9", status="success"),
        started("txn_9-1", "refund"),
    ],
)
def test_an_effect_without_an_intent_is_named(orphan: e.PaymentEvent):
    assert rules(proof_of(*CHARGED, orphan)) == ["intent before effect"]


def test_a_second_key_while_the_first_may_still_succeed_is_named():
    proof = proof_of(CREATED, started("txn_1-1"), MOVING, started("txn_1-2", provider="other"))

    assert rules(proof) == ["one key at a time"]
    assert "may still succeed" in proof.violations[0].text


def test_a_second_charge_after_the_first_succeeded_is_named():
    proof = proof_of(*CHARGED, started("txn_1-2"))

    assert rules(proof) == ["one key at a time"]
    assert "has succeeded" in proof.violations[0].text


def test_a_key_that_is_used_twice_is_named():
    declined = e.CallDeclined(key="txn_1-1", failure=BUSY)

    proof = proof_of(CREATED, started("txn_1-1"), MOVING, declined, started("txn_1-1"))

    assert rules(proof) == ["one key at a time"]


def test_another_provider_after_a_decline_is_allowed():
    declined = e.CallDeclined(key="txn_1-1", failure=BUSY)

    assert rules(proof_of(CREATED, started("txn_1-1"), MOVING, declined, started("txn_1-2"))) == []


PREPARED = (CREATED, started("txn_1-1", prepares=True), MOVING)
OBJECT = e.CallPrepared(key="txn_1-1", provider_txn_id="ch_1")
GIVEN_UP = e.CallDeclined(
    key="txn_1-1", failure=Failure(code="not_confirmed", message="No.", retryable=True)
)
RELEASE = started("txn_1-2", "void", target="ch_1")
ELSEWHERE = started("txn_1-3", provider="other")


@pytest.mark.parametrize(
    "recorded",
    [
        (OBJECT, approved("txn_1-1")),
        (GIVEN_UP, started("txn_1-2", provider="other")),
        (OBJECT, RELEASE, approved("txn_1-2", captured=False), GIVEN_UP, ELSEWHERE),
        (OBJECT, RELEASE, GIVEN_UP, approved("txn_1-2", captured=False), ELSEWHERE),
    ],
    ids=["confirmed", "given up before", "cancelled there", "told by the charge"],
)
def test_what_is_prepared_may_be_confirmed_or_cancelled_and_tried_elsewhere(
    recorded: tuple[e.PaymentEvent, ...],
):
    assert rules(proof_of(*PREPARED, *recorded)) == []


@pytest.mark.parametrize(
    "recorded",
    [
        (approved("txn_1-1"),),
        (OBJECT, OBJECT),
        (OBJECT, GIVEN_UP),
    ],
    ids=["confirmed unrecorded", "recorded twice", "given up while it may be confirmed"],
)
def test_steps_in_another_order_are_named(recorded: tuple[e.PaymentEvent, ...]):
    assert rules(proof_of(*PREPARED, *recorded)) == ["prepared before confirmed"]


def test_an_attempt_elsewhere_while_the_object_may_be_confirmed_is_named():
    proof = proof_of(*PREPARED, OBJECT, RELEASE, ELSEWHERE)

    assert rules(proof) == ["one key at a time"]


def test_two_captures_under_way_at_once_are_named():
    opened = [
        e.TransactionOpened(
            id=f"txn_c{n}", type="capture", origin="merchant", amount_minor=1, currency="USD", by=""
        )
        for n in (1, 2)
    ]
    held = (CREATED, started("txn_1-1", "authorize"), MOVING, approved("txn_1-1", captured=False))

    proof = proof_of(*held, *opened, started("txn_c1-1", "capture"), started("txn_c2-1", "capture"))

    assert rules(proof) == ["one key at a time"]


def reverse() -> e.TransactionOpened:
    return e.TransactionOpened(
        id="txn_v", type="reverse", origin="merchant", amount_minor=1_000, currency="USD", by="x"
    )


def test_a_void_may_be_asked_for_twice_and_a_refund_beside_it_may_not():
    first = (*CHARGED, reverse(), started("txn_v-1", "void", target="ch_1"))

    assert rules(proof_of(*first, started("txn_v-2", "void", target="ch_1"))) == []
    assert rules(proof_of(*first, started("txn_v-2", "refund", target="ch_1"))) == [
        "one key at a time"
    ]


def test_refunds_over_what_was_captured_are_named():
    assert rules(proof_of(*CHARGED, *refund(1, 600), *refund(2, 600))) == [
        "refunds within captures"
    ]


def test_refunds_that_the_provider_made_by_itself_are_named_unless_a_person_was_called():
    whole = (*CHARGED, *refund(1, 1_000), *refund(2, 500, "provider"))

    assert rules(proof_of(*whole)) == ["refunds within captures"]
    assert rules(proof_of(*whole, e.AttentionRaised(code="refunded_by_provider"))) == []
    assert rules(proof_of(*whole, e.AttentionRaised(code="refund_exceeds_captured"))) == []


def test_being_told_of_the_providers_refund_excuses_none_of_ours():
    told = e.AttentionRaised(code="refunded_by_provider")

    assert rules(proof_of(*CHARGED, *refund(1, 600), *refund(2, 600), told)) == [
        "refunds within captures"
    ]


def test_a_list_that_shows_something_else_is_named():
    proof = proof_of(*CHARGED)
    assert proof.payment is not None
    older = proof_of(*CHARGED[:3]).payment
    assert older is not None

    prove_documents(proof, documents(None, older))

    assert rules(proof) == ["projection", "projection"]
    assert "status" in proof.violations[0].text


def test_a_payment_or_transaction_that_is_not_listed_is_named():
    proof = proof_of(*CHARGED)

    prove_documents(proof, ())

    assert [each.text for each in proof.violations] == [
        "the payment pay_1 is not listed",
        "the transaction txn_1 is not listed",
    ]


def test_a_listed_transaction_of_which_no_event_tells_is_named():
    proof = proof_of(*CHARGED)
    more = proof_of(*CHARGED, *refund(1, 1)).payment
    assert proof.payment is not None
    assert more is not None
    extra = [each for each in documents(None, more) if each.id == "txn_r1"]

    prove_documents(proof, (*documents(None, proof.payment), *extra))

    assert rules(proof) == ["projection"]


@pytest.mark.parametrize(
    ("holder", "is_there", "broken"),
    [(None, False, 1), ("pay_2", False, 1), ("pay_2", True, 0), (PAYMENT, True, 0)],
)
def test_a_claim_that_leads_nowhere_is_named(holder: str | None, is_there: bool, broken: int):  # noqa: FBT001  # cases
    proof = proof_of(*CHARGED)
    claim = None if holder is None else Claim(name=KEY.name, stream=holder, body=b"")

    prove_claim(proof, claim, holder_is_there=is_there)

    assert rules(proof) == ["claim"] * broken


def test_an_open_payment_that_nobody_would_wake_is_named():
    being_charged = proof_of(CREATED, started("txn_1-1"), MOVING)
    prove_wake(being_charged, is_woken=True)
    assert rules(being_charged) == []

    prove_wake(being_charged, is_woken=False)

    assert rules(being_charged) == ["wake"]
    at_rest = proof_of(*CHARGED)
    prove_wake(at_rest, is_woken=False)
    assert rules(at_rest) == []


@pytest.mark.parametrize(
    ("tally", "broken"),
    [((1_000, 400), 0), ((1_000, 401), 1), ((999, 400), 1), ((0, 0), 1), (None, 1)],
)
def test_a_sum_of_the_database_that_is_not_the_payments_is_named(
    tally: tuple[int, int] | None, broken: int
):
    proof = proof_of(*CHARGED, *refund(1, 400))

    prove_tally(proof, tally)

    assert rules(proof) == ["sum in the database"] * broken


def test_a_proof_says_which_epochs_recorded_what():
    epochs = (0, 0, 3, 3, 2)
    events = [replace(row, epoch=n) for row, n in zip(rows(*CHARGED), epochs, strict=True)]

    proof = prove(PAYMENT, events)

    spans = [(span.first_seq, span.last_seq, span.epoch) for span in proof.recorded]
    assert spans == [(1, 2, 0), (3, 4, 3), (5, 5, 2)]


def test_a_charge_that_the_books_hold_twice_is_named():
    found = held_against(proof_of(*CHARGED), line(), line(providerTxnID="ch_2"))

    assert found[:1] == ["books: one effect per key"]
    assert "books: nothing kept" in found  # the second one was never given back


def test_a_key_that_the_journal_does_not_know_is_named():
    assert held_against(proof_of(*CHARGED), line(), line("txn_9-1")) == ["books: known key"]


@pytest.mark.parametrize(
    "changes", [{"amountMinor": 999}, {"currency": "EUR"}, {"operation": "authorize"}]
)
def test_an_effect_of_another_amount_or_kind_is_named(changes: dict[str, Any]):
    assert held_against(proof_of(*CHARGED), line(**changes)) == ["books: same effect"]


def test_an_effect_that_the_journal_holds_for_declined_is_named_and_so_is_the_money():
    failed = e.Moved(fact="failed", failure=BUSY)
    declined = e.CallDeclined(key="txn_1-1", failure=BUSY)

    proof = proof_of(CREATED, started("txn_1-1"), MOVING, declined, failed)

    assert held_against(proof, line()) == ["books: same effect", "books: nothing kept"]


def test_an_effect_of_a_call_in_doubt_is_on_its_way():
    doubt = e.CallInDoubt(key="txn_1-1", reason="timeout")

    assert held_against(proof_of(CREATED, started("txn_1-1"), MOVING, doubt), line()) == []


def test_an_approval_that_the_books_do_not_hold_is_named():
    other = line(None, "refund", providerTxnID="re_9")

    missing = held_against(proof_of(CREATED, started("txn_1-1"), approved("txn_1-1")), other)

    # Booked after the books' newest line, it may have happened after they were copied.
    assert missing.count("books: same effect") == 2
    assert held_against(proof_of(*CHARGED)) == []


def test_money_that_stays_at_the_provider_of_a_cancelled_payment_is_named():
    undone = (
        reverse(),
        started("txn_v-1", "void", target="ch_1"),
        approved("txn_v-1", captured=False),
        e.TransactionSettled(id="txn_v", status="success"),
        e.Moved(fact="cancelled"),
    )

    assert held_against(proof_of(*CHARGED, *undone), line()) == ["books: nothing kept"]
    assert held_against(proof_of(*CHARGED, *undone), line(), line("txn_v-1", "void")) == []
    # A void undoes the whole, whichever amount its provider names.
    named = line("txn_v-1", "void", amountMinor=1)
    assert held_against(proof_of(*CHARGED, *undone), line(), named) == []


def test_a_hold_that_ran_out_at_its_provider_is_not_kept():
    held = (CREATED, started("txn_1-1", "authorize"), MOVING, approved("txn_1-1", captured=False))
    over = e.Moved(fact="cancelled")
    gone = e.TransactionOpened(
        id="txn_v",
        type="reverse",
        origin="provider",
        amount_minor=1_000,
        currency="USD",
        by="provider:bank",
        provider="bank",
        provider_txn_id="ch_1",
    )
    books = line(operation="authorize")

    assert held_against(proof_of(*held, e.Moved(fact="authorized"), gone, over), books) == []
    assert held_against(proof_of(*held, e.Moved(fact="authorized"), over), books) == [
        "books: nothing kept"
    ]


def test_a_hold_that_its_provider_would_not_capture_any_more_is_not_kept():
    capture = e.TransactionOpened(
        id="txn_c", type="capture", origin="merchant", amount_minor=1_000, currency="USD", by="x"
    )
    gone = Failure(code="authorization_expired", message="Gone.")
    proof = proof_of(
        CREATED,
        started("txn_1-1", "authorize"),
        MOVING,
        approved("txn_1-1", captured=False),
        e.Moved(fact="authorized"),
        capture,
        started("txn_c-1", "capture", target="ch_1"),
        e.CallDeclined(key="txn_c-1", failure=gone),
        e.Moved(fact="cancelled", failure=gone),
    )

    assert held_against(proof, line(operation="authorize")) == []


def test_a_charge_that_was_voided_before_its_own_answer_came_is_no_contradiction():
    action = e.ActionRequested(key="txn_1-1", provider_txn_id="ch_1", url="u", expires_at_us=9)
    proof = proof_of(
        CREATED,
        started("txn_1-1"),
        MOVING,
        action,
        reverse(),
        started("txn_v-1", "void", target="ch_1"),
        approved("txn_v-1", captured=False),
        e.Moved(fact="cancelled"),
    )

    assert held_against(proof, line(), line("txn_v-1", "void")) == []


def test_a_stray_that_is_being_given_back_is_in_hand_and_one_that_cannot_be_is_a_persons():
    stray = (
        CREATED,
        started("txn_1-1"),
        MOVING,
        e.CallDeclined(key="txn_1-1", failure=BUSY),
        e.Moved(fact="failed", failure=BUSY),
        approved("txn_1-1"),
    )
    under_way = (*stray, reverse(), started("txn_v-1", "void", target="ch_1"))
    refused = (
        *under_way,
        e.CallDeclined(key="txn_v-1", failure=BUSY),
        e.TransactionSettled(id="txn_v", status="failed"),
    )

    assert held_against(proof_of(*stray), line()) == ["books: nothing kept"]
    assert held_against(proof_of(*under_way), line()) == []
    assert held_against(proof_of(*refused), line()) == ["books: nothing kept"]
    assert held_against(proof_of(*refused, e.AttentionRaised(code="x")), line()) == []


def test_what_the_provider_did_by_itself_is_held_against_what_we_booked():
    told = e.AttentionRaised(code="refunded_by_provider")
    own = e.TransactionOpened(
        id="txn_o",
        type="refund",
        origin="provider",
        amount_minor=300,
        currency="USD",
        by="provider:bank",
        status="success",
        provider="bank",
        provider_txn_id="re_own",
    )
    booked = line(None, "refund", providerTxnID="re_own", amountMinor=300)
    other = line(None, "refund", providerTxnID="re_own", amountMinor=301)

    assert held_against(proof_of(*CHARGED, own, told), line(), booked) == []
    assert held_against(proof_of(*CHARGED, own, told), line(), other) == ["books: same effect"]
    assert held_against(proof_of(*CHARGED), line(), booked) == ["books: same effect"]


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"data":[{}]}', b'{"data":[{"provider":1}]}'])
def test_what_is_no_books_is_refused(raw: bytes):
    with pytest.raises(BooksUnreadable):
        read_books(raw)


class MovingStore(MemoryStore):
    """A store in which a payment moves right after its events were read the first time."""

    def __init__(self) -> None:
        super().__init__(KINDS)
        self._chain = Chain(Head())
        self.coming: list[Unit] = []

    async def write(self, changes: Unit) -> None:
        assert await self.commit([changes], self._chain.link([changes])) == [None]

    async def read_stream(self, stream: str, *, after_seq: int = 0) -> list[Event]:
        events = await super().read_stream(stream, after_seq=after_seq)
        while self.coming:
            await self.write(self.coming.pop())
        return events


async def test_a_payment_that_moves_while_it_is_read_is_read_again():
    store = MovingStore()
    await store.open()
    cause = Cause(who="x", what="y")
    made = Draft(PAYMENT, None, 1)
    for event in CHARGED[:3]:
        made.add(event)
    claim = Claim(name=KEY.name, stream=PAYMENT, body=b"")
    await store.write(unit(made, seq=0, at_us=1, cause=cause, claim=claim))
    moved = Draft(PAYMENT, made.payment, 2)
    for event in CHARGED[3:]:
        moved.add(event)
    store.coming.append(unit(moved, seq=3, at_us=2, cause=cause))

    (proof,) = [each async for each in prove_all(store, None)]

    assert rules(proof) == []
    assert proof.events == len(CHARGED)
    with pytest.raises(NotFound):
        await prove_one(store, "pay_2", None)
