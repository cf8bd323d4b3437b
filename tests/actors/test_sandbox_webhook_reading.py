"""What the sandbox's adapter reads from a webhook, and what it refuses to be built with."""

import pytest
from provider_suite import SUM
from sandbox_adapter_rig import adapter, event_body, signed

from paygate_actors.providers.base import BodyInvalid, SignatureInvalid
from paygate_actors.providers.sandbox import SandboxProvider


def test_a_webhook_says_which_call_and_which_sum():
    provider = adapter("http://127.0.0.1:1")

    (event,) = provider.parse({"webhook-id": "msg_1"}, event_body())

    assert (event.event_id, event.event_type) == ("msg_1", "payment.succeeded")
    assert (event.provider_txn_id, event.reference, event.amount) == ("ch_1", "txn_1-1", SUM)
    assert event.at_us == 1_767_225_600_000_001


@pytest.mark.parametrize("data", [{}, None])
def test_a_webhook_without_data_is_read(data: object):
    (event,) = adapter("http://127.0.0.1:1").parse({"webhook-id": "m"}, event_body(data=data))

    assert (event.amount, event.reference) == (None, None)


def test_an_unknown_event_type_is_no_error():
    body = event_body(eventType="payout.paid", transactionID="")

    (event,) = adapter("http://127.0.0.1:1").parse({"webhook-id": "m"}, body)

    assert event.event_type == "payout.paid"


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_a_closed_dispute_says_who_won(outcome: str):
    body = event_body(eventType="dispute.closed", data={"outcome": outcome})

    (event,) = adapter("http://127.0.0.1:1").parse({"webhook-id": "m"}, body)

    assert event.dispute_won is (outcome == "won")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 50_000,
        event_body(providerID="sandbox_backup"),
        event_body(transactionID=""),
        event_body(transactionID=5),
        event_body(timestamp="yesterday"),
        event_body(timestamp="2026-01-01T00:00:00"),
        event_body(data={"amountMinor": "1000", "currency": "USD"}),
        event_body(eventType="dispute.closed"),
    ],
)
def test_a_webhook_that_is_not_as_documented_is_refused(body: bytes):
    with pytest.raises(BodyInvalid):
        adapter("http://127.0.0.1:1").parse({"webhook-id": "m"}, body)


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x", "http://u:p@x"])
def test_an_unusable_url_is_refused(url: str):
    with pytest.raises(ValueError, match="provider's url"):
        adapter(url)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "   "])
def test_an_unusable_secret_is_refused_without_repeating_it(secret: str):
    with pytest.raises(ValueError, match="webhook secret") as caught:
        SandboxProvider(id="s", name="s", url="http://127.0.0.1", webhook_secret=secret)

    assert "é" not in str(caught.value)


def test_an_id_with_a_dot_cannot_move_the_borders_of_what_was_signed():
    provider = adapter("http://127.0.0.1:1")
    now_us = 1_767_225_600_000_000
    body = event_body()
    genuine = signed(body, at_us=now_us)
    seconds = genuine["webhook-timestamp"]

    # "msg_1.S" + "." + "S2..." would be the same bytes under another id.
    moved = {**genuine, "webhook-id": f"msg_1.{seconds}"}

    with pytest.raises(SignatureInvalid, match="webhook-id"):
        provider.verify(moved, body, now_us=now_us)


def test_one_good_signature_among_several_is_enough():
    provider = adapter("http://127.0.0.1:1")
    now_us = 1_767_225_600_000_000
    body = event_body()
    headers = signed(body, at_us=now_us)
    headers["webhook-signature"] = f"v1,AAAA v1a,xyz {headers['webhook-signature']}"

    provider.verify(headers, body, now_us=now_us)
