"""Recorded events as they were first written: these bytes are read for ever."""

import msgspec
import pytest

from paygate_actors import events as e
from paygate_actors.messages import Address, Failure, MethodView
from paygate_actors.route import Aside, Route

FAILURE = Failure(code="card_declined", message="No.", decline_code="51", retryable=True)

KEPT: list[tuple[str, bytes, e.PaymentEvent]] = [
    (
        "payment_created.1",
        (
            b'{"merchant":"m_1","by":"key_1","transaction_id":"txn_1","amount_minor":10000,'
            b'"currency":"USD","capture_method":"manual","method":{"kind":"card","brand":"visa",'
            b'"last4":"4242","expiry_month":12,"expiry_year":2030,"holder_name":"A Payer",'
            b'"wallet_id":null,"token":"card_1"},"livemode":false,"fingerprint":"f1",'
            b'"billing":{"country":"US","street":null,"city":null,"state":"CA","zip_code":"94103"},'
            b'"metadata":{"orderID":"o1"},"description":"Tea","return_url":"https://shop.example/",'
            b'"customer_ip":"192.0.2.1","provider_pin":"a","key":{"name":"k","mac":"m",'
            b'"derived":true}}'
        ),
        e.PaymentCreated(
            merchant="m_1",
            by="key_1",
            transaction_id="txn_1",
            amount_minor=10_000,
            currency="USD",
            capture_method="manual",
            method=MethodView(
                kind="card",
                brand="visa",
                last4="4242",
                expiry_month=12,
                expiry_year=2030,
                holder_name="A Payer",
                token="card_1",
            ),
            livemode=False,
            fingerprint="f1",
            billing=Address(country="US", state="CA", zip_code="94103"),
            metadata={"orderID": "o1"},
            description="Tea",
            return_url="https://shop.example/",
            customer_ip="192.0.2.1",
            provider_pin="a",
            key=e.RequestKey(name="k", mac="m", derived=True),
        ),
    ),
    (
        "fraud_scored.1",
        (
            b'{"score_milli":650,"risk_level":"medium","factors":["high_amount"],"review":true,'
            b'"static_only":true}'
        ),
        e.FraudScored(
            score_milli=650,
            risk_level="medium",
            factors=("high_amount",),
            review=True,
            static_only=True,
        ),
    ),
    (
        "fraud_scored.1",
        b'{"score_milli":900,"risk_level":"high","blocked":true}',
        e.FraudScored(score_milli=900, risk_level="high", blocked=True),
    ),
    (
        "call_started.1",
        (
            b'{"key":"txn_1-1","transaction_id":"txn_1","verb":"void","provider":"a",'
            b'"amount_minor":10000,"target":"ch_1"}'
        ),
        e.CallStarted(
            key="txn_1-1",
            transaction_id="txn_1",
            verb="void",
            provider="a",
            amount_minor=10_000,
            target="ch_1",
        ),
    ),
    (
        "call_started.1",
        (
            b'{"key":"txn_1-1","transaction_id":"txn_1","verb":"charge","provider":"a",'
            b'"amount_minor":10000,"prepares":true}'
        ),
        e.CallStarted(
            key="txn_1-1",
            transaction_id="txn_1",
            verb="charge",
            provider="a",
            amount_minor=10_000,
            prepares=True,
        ),
    ),
    (
        "call_started.1",
        (
            b'{"key":"txn_1-1","transaction_id":"txn_1","verb":"charge","provider":"b",'
            b'"amount_minor":10000,"route":{"order":["b","a"],"by":"success_rate","rule":"r",'
            b'"rules":"0af1","share_milli":25,"explored":true,'
            b'"left_out":[{"provider":"c","why":"amount"}],'
            b'"behind":[{"provider":"a","why":"circuit_open"}],"bin":"424242",'
            b'"three_d_secure":true,"retry_declines":["do_not_honor"],"retries_max":1}}'
        ),
        e.CallStarted(
            key="txn_1-1",
            transaction_id="txn_1",
            verb="charge",
            provider="b",
            amount_minor=10_000,
            route=Route(
                order=("b", "a"),
                by="success_rate",
                rule="r",
                rules="0af1",
                share_milli=25,
                explored=True,
                left_out=(Aside(provider="c", why="amount"),),
                behind=(Aside(provider="a", why="circuit_open"),),
                bin="424242",
                three_d_secure=True,
                retry_declines=("do_not_honor",),
                retries_max=1,
            ),
        ),
    ),
    (
        "call_prepared.1",
        b'{"key":"txn_1-1","provider_txn_id":"ch_1"}',
        e.CallPrepared(key="txn_1-1", provider_txn_id="ch_1"),
    ),
    (
        "call_in_doubt.1",
        b'{"key":"txn_1-1","reason":"timeout"}',
        e.CallInDoubt(key="txn_1-1", reason="timeout"),
    ),
    (
        "call_pending.1",
        b'{"key":"txn_1-1","provider_txn_id":"ch_1","expected_by_us":1800000000000000}',
        e.CallPending(key="txn_1-1", provider_txn_id="ch_1", expected_by_us=1_800_000_000_000_000),
    ),
    (
        "action_requested.1",
        (
            b'{"key":"txn_1-1","provider_txn_id":"ch_1","url":"https://bank.example/",'
            b'"expires_at_us":1800000000000000}'
        ),
        e.ActionRequested(
            key="txn_1-1",
            provider_txn_id="ch_1",
            url="https://bank.example/",
            expires_at_us=1_800_000_000_000_000,
        ),
    ),
    (
        "call_approved.1",
        (
            b'{"key":"txn_1-1","provider_txn_id":"ch_1","amount_minor":10000,"currency":"USD",'
            b'"captured":true}'
        ),
        e.CallApproved(
            key="txn_1-1",
            provider_txn_id="ch_1",
            amount_minor=10_000,
            currency="USD",
            captured=True,
        ),
    ),
    (
        "credential_noted.1",
        b'{"key":"txn_1-1","network_transaction_id":"901151114810210","authentication":"frictionless"}',
        e.CredentialNoted(
            key="txn_1-1", network_transaction_id="901151114810210", authentication="frictionless"
        ),
    ),
    (
        "call_declined.1",
        (
            b'{"key":"txn_1-1","failure":{"code":"card_declined","message":"No.",'
            b'"decline_code":"51","retryable":true},"provider_txn_id":"ch_1"}'
        ),
        e.CallDeclined(key="txn_1-1", failure=FAILURE, provider_txn_id="ch_1"),
    ),
    (
        "payment_moved.1",
        b'{"fact":"action_required","expires_at_us":1800000000000000}',
        e.Moved(fact="action_required", expires_at_us=1_800_000_000_000_000),
    ),
    (
        "payment_moved.1",
        (
            b'{"fact":"failed","failure":{"code":"card_declined","message":"No.",'
            b'"decline_code":"51","retryable":true}}'
        ),
        e.Moved(fact="failed", failure=FAILURE),
    ),
    (
        "transaction_opened.1",
        (
            b'{"id":"txn_2","type":"reverse","origin":"merchant","amount_minor":10000,'
            b'"currency":"USD","by":"key_1","status":"success","provider":"a",'
            b'"provider_txn_id":"re_1","reason":"returned","requested_minor":500,"or_refund":true,'
            b'"key":{"name":"k","mac":"m"}}'
        ),
        e.TransactionOpened(
            id="txn_2",
            type="reverse",
            origin="merchant",
            amount_minor=10_000,
            currency="USD",
            by="key_1",
            status="success",
            provider="a",
            provider_txn_id="re_1",
            reason="returned",
            requested_minor=500,
            or_refund=True,
            key=e.RequestKey(name="k", mac="m"),
        ),
    ),
    (
        "transaction_settled.1",
        (
            b'{"id":"txn_2","status":"failed","failure":{"code":"card_declined","message":"No.",'
            b'"decline_code":"51","retryable":true},"provider_txn_id":"re_1","amount_minor":500,'
            b'"fact_at_us":1800000000000000}'
        ),
        e.TransactionSettled(
            id="txn_2",
            status="failed",
            failure=FAILURE,
            provider_txn_id="re_1",
            amount_minor=500,
            fact_at_us=1_800_000_000_000_000,
        ),
    ),
    (
        "status_asserted.1",
        b'{"transaction_id":"txn_1","status":"success","reason":"The bank says so.","by":"key_o"}',
        e.StatusAsserted(
            transaction_id="txn_1", status="success", reason="The bank says so.", by="key_o"
        ),
    ),
    (
        "reviewed.1",
        b'{"decision":"approve","note":"Known payer.","by":"key_o"}',
        e.Reviewed(decision="approve", note="Known payer.", by="key_o"),
    ),
    (
        "attention_raised.1",
        b'{"code":"amount_mismatch","detail":"evt_1"}',
        e.AttentionRaised(code="amount_mismatch", detail="evt_1"),
    ),
    ("attention_cleared.1", b"{}", e.AttentionCleared()),
    (
        "attention_cleared.1",
        b'{"up_to_seq":7,"by":"key_2","note":"Known to the bank."}',
        e.AttentionCleared(up_to_seq=7, by="key_2", note="Known to the bank."),
    ),
]
KINDS = sorted({kind for kind, _, _ in KEPT})


@pytest.mark.parametrize(("kind", "body", "event"), KEPT, ids=[kept[0] for kept in KEPT])
def test_an_event_of_the_first_version_is_read_as_it_was_meant(
    kind: str, body: bytes, event: e.PaymentEvent
):
    assert e.decode(kind, body) == event


@pytest.mark.parametrize(("kind", "body", "event"), KEPT, ids=[kept[0] for kept in KEPT])
def test_an_event_is_written_as_it_always_was(kind: str, body: bytes, event: e.PaymentEvent):
    assert e.encode(event) == (kind, body)


def test_every_kind_of_event_is_kept_here():
    written = {type(event) for _, _, event in KEPT}

    assert written == set(e.PaymentEvent.__args__)


@pytest.mark.parametrize("kind", ["payment_created.2", "payment_created", "refunded.1", ""])
def test_an_unknown_kind_is_refused(kind: str):
    with pytest.raises(KeyError):
        e.decode(kind, b"{}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_nobody_wrote_is_refused(kind: str):
    body = next(body for name, body, _ in KEPT if name == kind)
    fields = msgspec.json.decode(body, type=dict[str, object])

    with pytest.raises(msgspec.ValidationError):
        e.decode(kind, msgspec.json.encode({**fields, "surprise": 1}))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "attention_cleared.1"])
def test_an_event_without_its_fields_is_refused(kind: str):
    with pytest.raises(msgspec.ValidationError):
        e.decode(kind, b"{}")


def test_money_is_no_float_in_what_is_read():
    body = next(body for name, body, _ in KEPT if name == "call_approved.1")

    with pytest.raises(msgspec.ValidationError):
        e.decode("call_approved.1", body.replace(b"10000", b"100.5"))


def test_a_move_is_named_by_its_fact_and_the_others_by_their_kind():
    assert e.public_name(e.Moved(fact="captured")) == "payment_captured"
    assert e.public_name(e.AttentionCleared()) == "attention_cleared"
