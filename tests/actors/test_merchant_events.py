"""What merchants are told: which facts, in which words, under which numbers."""

import itertools

import msgspec
import pytest

from paygate_actors import events as e
from paygate_actors.draft import Draft
from paygate_actors.endpoints import Endpoint, Endpoints, SealedSecret, feed_of
from paygate_actors.evolving import evolve
from paygate_actors.merchant_events import (
    EVENT_TYPES,
    SUBJECTS,
    MerchantEvent,
    events_of,
    read_event,
    tells,
)
from paygate_actors.messages import Failure, MethodView
from paygate_actors.outbox import (
    JITTER,
    RETRY_AFTER_S_MAX,
    SCHEDULE_S,
    Notices,
    delay_s,
    read_delivery,
)
from paygate_actors.record import Payment
from paygate_actors.states import FACTS
from paygate_engine.ids import Ids

AT_US = 1_767_225_600_000_000
PAYMENT_ID = Ids.compose("pay", at_us=AT_US, entropy=7)
FIRST = "txn" + PAYMENT_ID.removeprefix("pay")


def created(*, livemode: bool = False) -> e.PaymentCreated:
    return e.PaymentCreated(
        merchant="shop",
        by="key_1",
        transaction_id=FIRST,
        amount_minor=1_000,
        currency="USD",
        capture_method="automatic",
        method=MethodView(kind="card", brand="visa", last4="4242"),
        livemode=livemode,
    )


def folded(*news: e.PaymentEvent) -> Payment:
    payment: Payment | None = None
    for event in (created(), *news):
        payment = evolve(payment, event, id=PAYMENT_ID, at_us=AT_US)
    assert payment is not None
    return payment


def opened(kind: str, status: str = "pending", **more: object) -> e.TransactionOpened:
    known = {"id": "txn_2", "origin": "merchant", "amount_minor": 100, "currency": "USD"}
    raw = {**known, "by": "key_1", "type": kind, "status": status, **more}
    return msgspec.convert(raw, e.TransactionOpened)


def settled(status: str, of_id: str = "txn_2") -> e.TransactionSettled:
    return msgspec.convert({"id": of_id, "status": status}, e.TransactionSettled)


def drafted(before: Payment | None, *news: e.PaymentEvent) -> Draft:
    draft = Draft(PAYMENT_ID, before, AT_US)
    for event in news:
        draft.add(event)
    return draft


def test_every_move_that_concerns_a_merchant_is_told() -> None:
    payment = folded()

    told = {fact: tells(e.Moved(fact=fact), payment) for fact in FACTS}

    assert told == {
        "charge_started": None,
        "resumed": None,
        "action_required": "payment.requires_action",
        "held": "payment.in_review",
        "authorized": "payment.authorized",
        "captured": "payment.succeeded",
        "failed": "payment.failed",
        "cancelled": "payment.cancelled",
    }


@pytest.mark.parametrize("kind", ["capture", "refund", "reverse", "return"])
@pytest.mark.parametrize(
    ("status", "word"),
    [("success", "succeeded"), ("failed", "failed"), ("cancelled", "cancelled")],
)
def test_a_transaction_is_told_when_it_opens_and_when_it_ends(
    kind: str, status: str, word: str
) -> None:
    first, last = opened(kind), settled(status)
    payment = folded(first, last)

    assert tells(first, payment) == f"{kind}.pending"
    assert tells(last, payment) == f"{kind}.{word}"
    assert tells(opened(kind, status), payment) == f"{kind}.{word}"


@pytest.mark.parametrize(
    ("status", "told"),
    [("success", "dispute.lost"), ("cancelled", "dispute.won")],
)
def test_a_dispute_is_told_by_how_it_ends(status: str, told: str) -> None:
    first, last = opened("chargeback"), settled(status)
    payment = folded(first, last)

    assert (tells(first, payment), tells(last, payment)) == ("dispute.opened", told)


def test_a_stray_and_its_reversal_are_told_as_such() -> None:
    stray = opened("stray", "success", id="txn_stray")
    back = opened("reverse", id="txn_back", stray_id="txn_stray")
    done = settled("success", "txn_back")
    payment = folded(stray, back, done)

    told = [tells(event, payment) for event in (stray, back, done)]

    assert told == ["stray.opened", "reverse.pending", "stray.reversed"]


def test_what_calls_a_person_is_told_a_mismatch_by_its_name() -> None:
    payment = folded()

    assert tells(e.AttentionRaised(code="disputed"), payment) == "attention.raised"
    assert tells(e.AttentionRaised(code="amount_mismatch"), payment) == "payment.mismatch"


@pytest.mark.parametrize("status", ["success", "failed", "cancelled"])
def test_what_an_operator_asserts_is_told_as_it_is_shown(status: str) -> None:
    refund = opened("refund")
    payment = folded(refund)
    of_refund = {"transaction_id": "txn_2", "status": status, "reason": "seen", "by": "key_o"}
    of_payment = {**of_refund, "transaction_id": FIRST}
    word = {"success": "succeeded"}.get(status, status)

    told = [
        tells(msgspec.convert(raw, e.StatusAsserted), payment) for raw in (of_refund, of_payment)
    ]

    assert told == [f"refund.{word}", f"payment.{word}"]


def test_what_is_shown_again_once_an_operators_word_is_taken_away_is_told() -> None:
    before = waiting_for_its_payer()
    word = e.StatusAsserted(transaction_id=FIRST, status="success", reason="seen", by="key_o")
    news = (word, e.CallDeclined(key=f"{FIRST}-1", failure=Failure(code="c", message="No.")))

    at_once = [event.type for event in events_of(drafted(before, *news), 3)]
    one_by_one = [
        *events_of(drafted(before, news[0]), 3),
        *events_of(drafted(drafted(before, news[0]).payment, news[1]), 4),
    ]

    assert at_once == ["payment.succeeded", "payment.requires_action"]
    assert [event.type for event in one_by_one] == at_once
    assert [event.sequence for event in one_by_one] == [4, 5]


def test_a_word_that_the_provider_confirms_is_not_told_twice() -> None:
    before = waiting_for_its_payer()
    word = e.StatusAsserted(transaction_id=FIRST, status="failed", reason="seen", by="key_o")
    failure = Failure(code="card_declined", message="No.")
    declined = e.CallDeclined(key=f"{FIRST}-1", failure=failure)
    said = drafted(before, word).payment

    (event,) = events_of(drafted(said, e.Moved(fact="failed", failure=failure), declined), 4)

    assert event.type == "payment.failed"


def waiting_for_its_payer() -> Payment:
    key = f"{FIRST}-1"
    return folded(
        e.CallStarted(
            key=key, transaction_id=FIRST, verb="charge", provider="a", amount_minor=1_000
        ),
        e.Moved(fact="charge_started"),
        e.ActionRequested(key=key, provider_txn_id="ch", url="https://a", expires_at_us=AT_US),
        e.Moved(fact="action_required", expires_at_us=AT_US),
    )


def test_a_decision_shows_the_payment_as_it_is_after_all_of_it() -> None:
    before = folded()
    failure = Failure(code="card_declined", message="No.")
    draft = drafted(before, e.Moved(fact="charge_started"), e.Moved(fact="failed", failure=failure))

    (event,) = events_of(draft, 4)

    assert (event.type, event.sequence, event.payment_id) == ("payment.failed", 5, PAYMENT_ID)
    assert event.payment is not None
    assert event.payment.status == "failed"
    assert event.payment.failure == failure
    assert event.at_us == AT_US


def test_the_same_decision_makes_the_same_ids_again() -> None:
    """A decision that is made anew after a conflict must not be told twice under two names."""
    before = folded()
    moves = (e.Moved(fact="charge_started"), e.Moved(fact="captured"))

    once, again = (list(events_of(drafted(before, *moves), 0)) for _ in range(2))

    assert once == again
    assert Ids.time_of(once[0].id) == AT_US


def test_ids_of_different_events_differ() -> None:
    draft = drafted(folded(), *(opened("refund", id=f"txn_{n}") for n in range(2, 30)))

    found = [event.id for told in (0, 50) for event in events_of(draft, told)]

    assert len(set(found)) == len(found) == 56


def test_what_is_counted_when_it_is_read_back_is_what_was_told() -> None:
    """The sequence goes on behind what was told, however the events were cut into decisions."""
    news: list[e.PaymentEvent] = [
        e.Moved(fact="charge_started"),
        e.Moved(fact="captured"),
        opened("refund"),
        settled("success"),
        settled("failed"),
        e.AttentionRaised(code="refund_failed"),
        opened("chargeback", id="txn_3"),
        settled("cancelled", "txn_3"),
    ]
    for cuts in itertools.product((False, True), repeat=len(news) - 1):
        payment, told, live = folded(), 0, 0
        groups: list[list[e.PaymentEvent]] = [[news[0]]]
        for event, cut in zip(news[1:], cuts, strict=True):
            groups.append([event]) if cut else groups[-1].append(event)
        for group in groups:
            draft = drafted(payment, *group)
            live += len(list(events_of(draft, live)))
            for event in group:
                payment = evolve(payment, event, id=PAYMENT_ID, at_us=AT_US)
                told += tells(event, payment) is not None
            assert told == live


def test_an_event_is_read_back_as_it_was_told() -> None:
    before = folded(e.Moved(fact="charge_started"), e.Moved(fact="captured"))
    notices = Notices()

    told = notices.of(drafted(before, opened("refund")), 1)

    assert (told.count, told.items, told.documents, told.endpoints) == (1, (), (), ())
    (post,) = told.posts
    event = read_event(post.body)
    assert post.feed == feed_of("shop")
    assert event.transaction is not None
    assert (event.type, event.sequence, event.transaction.id) == ("refund.pending", 2, "txn_2")


def endpoint(of_id: str, *events: str, **more: object) -> Endpoint:
    return msgspec.structs.replace(
        Endpoint(
            id=of_id,
            merchant="shop",
            url="https://shop.example/hook",
            created_at_us=AT_US,
            updated_at_us=AT_US,
            secrets=(SealedSecret(sealed=b"x"),),
            events=events,
        ),
        **more,
    )


def test_each_endpoint_that_wants_it_gets_a_delivery_of_its_own() -> None:
    notices = Notices(
        Endpoints(
            [
                endpoint("we_all"),
                endpoint("we_refunds", "refund.*"),
                endpoint("we_one", "refund.pending"),
                endpoint("we_payments", "payment.*"),
                endpoint("we_off", disabled="by_merchant"),
                endpoint("we_other", merchant="another"),
            ]
        )
    )

    told = notices.of(drafted(folded(), opened("refund")), 0)

    assert told.endpoints == ("we_all", "we_refunds", "we_one")
    assert [item.queue for item in told.items] == [
        "outbox/we_all",
        "outbox/we_refunds",
        "outbox/we_one",
    ]
    deliveries = [read_delivery(document) for document in told.documents]
    assert len({each.id for each in deliveries}) == 3
    assert [item.key for item in told.items] == [each.id for each in deliveries]
    assert all(read_event(bytes(each.event)).type == "refund.pending" for each in deliveries)


def test_queues_are_read_in_the_order_in_which_things_are_due() -> None:
    notices = Notices(Endpoints([endpoint("we_all")]))
    ids = [
        item.id
        for at_us in (7, 10**9, AT_US, AT_US + 1, AT_US * 2, 10**16 - 1)
        for item in notices.of_events(
            "shop", [MerchantEvent(id="evt", type="refund.failed", at_us=at_us, livemode=True)]
        ).items
    ]

    assert ids == sorted(ids)


def test_every_type_has_a_subject_that_can_be_subscribed_to() -> None:
    for name in EVENT_TYPES:
        subject = name.partition(".")[0]
        assert subject in SUBJECTS
        assert endpoint("we", f"{subject}.*").wants(name)
        assert not endpoint("we", "nothing.*").wants(name) or name == "webhook_endpoint.test"


def test_the_schedule_is_that_of_the_specification() -> None:
    waits = [delay_s(n, retry_after_s=None, random=0.0) for n in range(1, len(SCHEDULE_S) + 1)]
    latest = [delay_s(n, retry_after_s=None, random=1.0) for n in range(1, len(SCHEDULE_S))]

    hour = 3_600
    assert waits == [
        5,
        300,
        1_800,
        *(hours * hour for hours in (2, 5, 10, 14, 20, 24)),
        None,
    ]
    assert latest == [pytest.approx(wait * (1 + JITTER)) for wait in SCHEDULE_S[1:]]


@pytest.mark.parametrize(
    ("said", "waited"),
    [(None, 5), (0, 5), (1, 5), (60, 60), (10**9, RETRY_AFTER_S_MAX)],
)
def test_who_says_when_to_come_back_is_not_asked_before(said: int | None, waited: int) -> None:
    assert delay_s(1, retry_after_s=said, random=0.0) == waited
