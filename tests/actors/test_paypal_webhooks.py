"""PayPal's webhooks: signatures under certificates, hostile headers, what events say."""

import asyncio
import json
import shutil
import subprocess
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificates
from needing import needs
from paypal_rig import (
    MADE_UP,
    CertificateServer,
    amount,
    capture,
    certificate_server,
    order,
    paypal_adapter,
    paypal_event,
    refund,
)
from provider_suite import charge_call
from sandbox_rig import APPROVED, Inbox, sandbox_rig

from paygate_actors.money import Money
from paygate_actors.providers.base import (
    BodyInvalid,
    KeysUnavailable,
    ProviderEvent,
    SignatureInvalid,
)
from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.paypal_certificates import (
    FETCHES_A_MINUTE_MAX,
    KEPT_MAX,
    LIVE_HOSTS,
    STRANGERS_MAX,
    Certificates,
    certificates_of,
    system_roots,
)
from paygate_engine.clock import ManualClock
from paygate_http.sandbox.paypal_certificate import SigningCertificate

BODY = paypal_event("PAYMENT.CAPTURE.COMPLETED", capture())
AT_US = 1_767_225_600 * 1_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def server(clock: ManualClock) -> AsyncIterator[CertificateServer]:
    async with certificate_server(clock) as server:
        yield server


@pytest.fixture
async def provider(server: CertificateServer) -> AsyncIterator[PayPalProvider]:
    here = certificates_of(server.url, here=True)
    provider = paypal_adapter("http://127.0.0.1:9", certificates=here)
    yield provider
    await provider.close()


async def verified(provider: PayPalProvider, headers: dict[str, str], body: bytes = BODY) -> None:
    """Do what the door does: fetch what is needed, then check."""
    await provider.fetch_keys(headers)
    provider.verify(headers, body, now_us=AT_US)


async def test_a_genuine_webhook_is_taken_and_its_certificate_fetched_once(
    server: CertificateServer, provider: PayPalProvider
):
    for number in range(5):
        await verified(provider, server.signed(BODY, at_us=AT_US, transmission_id=f"WH-{number}"))

    assert len(server.asked) == 2  # the certificate, and the sandbox's root


async def test_many_webhooks_at_once_fetch_the_certificate_once(
    server: CertificateServer, provider: PayPalProvider
):
    headers = server.signed(BODY, at_us=AT_US)

    await asyncio.gather(*(provider.fetch_keys(headers) for _ in range(50)))

    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"paypal-transmission-id": "WH-2"},
        {"paypal-transmission-time": "2026-01-01T00:00:01Z"},
        {"paypal-transmission-sig": "AAAA"},
        {"paypal-auth-algo": "SHA1withRSA"},
        {"paypal-auth-algo": "none"},
    ],
)
async def test_a_header_that_was_changed_is_refused(
    server: CertificateServer, provider: PayPalProvider, changes: dict[str, str]
):
    headers = server.signed(BODY, at_us=AT_US)
    await provider.fetch_keys(headers)

    with pytest.raises(SignatureInvalid):
        provider.verify(headers | changes, BODY, now_us=AT_US)


async def test_another_webhook_s_signature_and_another_body_are_refused(
    server: CertificateServer, provider: PayPalProvider
):
    """PayPal signs for everybody: the webhook's id makes it ours."""
    with pytest.raises(SignatureInvalid):
        await verified(provider, server.signed(BODY, at_us=AT_US, webhook_id="SOMEBODYELSE"))
    with pytest.raises(SignatureInvalid):
        await verified(provider, server.signed(BODY, at_us=AT_US), BODY + b" ")


async def test_openssl_agrees_with_what_is_signed(tmp_path: Path, server: CertificateServer):
    """The string that is signed, and the key, held by a stranger."""
    needs("openssl is not installed", met=shutil.which("openssl") is not None)
    headers = server.signed(BODY, at_us=AT_US)
    (leaf,) = load_pem_x509_certificates(server.certificate.chain)
    key, signature, signed = (tmp_path / name for name in ("key.pem", "sig", "signed"))
    key.write_bytes(leaf.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    id_, at = headers["paypal-transmission-id"], headers["paypal-transmission-time"]
    signed.write_text(f"{id_}|{at}|PAYGATESANDBOX1|{zlib.crc32(BODY)}")
    decode = ["openssl", "base64", "-d", "-A"]
    raw = subprocess.run(  # noqa: ASYNC221 - a fixed command, and nothing else runs
        decode,
        input=headers["paypal-transmission-sig"].encode(),
        capture_output=True,
        check=True,
        timeout=10,
    )
    signature.write_bytes(raw.stdout)

    dgst = ["openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(signature)]
    done = subprocess.run([*dgst, str(signed)], capture_output=True, check=False, timeout=10)  # noqa: ASYNC221 - as above

    assert done.stdout == b"Verified OK\n"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://127.0.0.1/v1/notifications/certs/CERT-1",
        "https://evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://evil.example#api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?x=y",
        "https://api.paypal.com/v1/notifications/certs/../../v2/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1/",
        "https://api.paypal.com/v1/notifications/certs/CERT-1\n",
        "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",
        "HTTPS://API.PAYPAL.COM/v1/notifications/certs/CERT-1",
        "https://169.254.169.254/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT-" + "1" * 5_000,
    ],
)
async def test_nobody_leads_us_to_a_certificate_elsewhere(server: CertificateServer, url: str):
    live = paypal_adapter("https://api-m.paypal.com")
    headers = server.signed(BODY, at_us=AT_US) | {"paypal-cert-url": url}

    with pytest.raises(SignatureInvalid):
        await live.fetch_keys(headers)
    with pytest.raises(SignatureInvalid):
        live.verify(headers, BODY, now_us=AT_US)
    await live.close()

    assert server.asked == []


async def test_the_hosts_of_the_real_one_are_followed_and_its_certificate_must_have_a_root():
    assert LIVE_HOSTS == ("api.paypal.com", "api-m.paypal.com")
    assert len(system_roots()) > 50


async def test_a_certificate_of_somebody_else_s_root_is_refused(
    clock: ManualClock, server: CertificateServer
):
    """Whoever gets between us and PayPal signs with a certificate of his own."""
    other = SigningCertificate(clock)
    roots = load_pem_x509_certificates(other.root)
    certificates = Certificates([server.url], names=".localhost", roots=lambda: roots)
    provider = paypal_adapter("http://127.0.0.1:9", certificates=certificates)

    with pytest.raises(SignatureInvalid, match="not one of PayPal's"):
        await verified(provider, server.signed(BODY, at_us=AT_US))
    await provider.close()


async def test_a_certificate_for_another_name_is_refused(server: CertificateServer):
    certificates = Certificates([server.url], names=".paypal.com", roots=None)
    provider = paypal_adapter("http://127.0.0.1:9", certificates=certificates)

    with pytest.raises(SignatureInvalid, match="somebody else's"):
        await verified(provider, server.signed(BODY, at_us=AT_US))
    await provider.close()


async def test_a_certificate_that_has_run_out_is_refused(
    server: CertificateServer, provider: PayPalProvider
):
    later_us = AT_US + 400 * 24 * 3_600 * 1_000_000
    await verified(provider, server.signed(BODY, at_us=AT_US))
    headers = server.signed(BODY, at_us=later_us)

    with pytest.raises(SignatureInvalid, match="not now"):
        provider.verify(headers, BODY, now_us=later_us)


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_a_certificate_that_cannot_be_fetched_now_may_be_there_later(
    server: CertificateServer, provider: PayPalProvider, status: int
):
    headers = server.signed(BODY, at_us=AT_US)
    server.status = status
    with pytest.raises(KeysUnavailable):
        await provider.fetch_keys(headers)

    server.status = 200

    await verified(provider, headers)


async def test_certificates_that_anybody_makes_up_are_asked_for_a_few_times_a_minute(
    server: CertificateServer, provider: PayPalProvider
):
    headers = server.signed(BODY, at_us=AT_US)
    await provider.fetch_keys(headers)
    server.status = 404

    for number in range(100):
        url = f"{server.url}/v1/notifications/certs/CERT-{number}"
        with pytest.raises(KeysUnavailable):
            await provider.fetch_keys(headers | {"paypal-cert-url": url})

    assert len(server.asked) <= 2 * FETCHES_A_MINUTE_MAX
    await verified(provider, headers)  # what is known is not pushed out


async def test_what_was_trusted_before_a_restart_is_fetched_whatever_anybody_makes_up(
    server: CertificateServer, provider: PayPalProvider
):
    await verified(provider, server.signed(BODY, at_us=AT_US))
    after = paypal_adapter(
        "http://127.0.0.1:9", certificates=certificates_of(server.url, here=True)
    )
    after.know_keys(provider.known_keys())
    headers = server.signed(BODY, at_us=AT_US)
    server.status = 404
    for number in range(FETCHES_A_MINUTE_MAX):
        url = f"{server.url}/v1/notifications/certs/CERT-{number}"
        with pytest.raises(KeysUnavailable):
            await after.fetch_keys(headers | {"paypal-cert-url": url})
    server.status = 200

    await verified(after, headers)

    await after.close()
    assert provider.known_keys() == (headers["paypal-cert-url"],)


async def test_nothing_but_an_address_of_paypal_s_is_taken_for_trusted_before(
    server: CertificateServer, provider: PayPalProvider
):
    here = f"{server.url}/v1/notifications/certs/CERT-"

    provider.know_keys(["", "https://evil.example/v1/notifications/certs/CERT-1", here + "/"])
    nothing = provider.known_keys()
    provider.know_keys(f"{here}{number}" for number in range(KEPT_MAX + 2))

    assert nothing == ()
    assert provider.known_keys() == tuple(f"{here}{each}" for each in range(2, KEPT_MAX + 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"paypal-transmission-time": "2025-12-31T23:54:59Z"},
        {"paypal-transmission-time": "2026-01-01T00:05:01Z"},
        {"paypal-transmission-id": ""},
        {"paypal-auth-algo": "SHA1withRSA"},
        {"paypal-transmission-sig": "="},
    ],
)
async def test_nothing_is_fetched_for_what_is_refused_whatever_the_certificate_says(
    server: CertificateServer, provider: PayPalProvider, changes: dict[str, str]
):
    headers = server.signed(BODY, at_us=AT_US)

    with pytest.raises(SignatureInvalid):
        await provider.fetch_keys(headers | changes)

    assert server.asked == []


async def test_who_waits_for_made_up_certificates_keeps_nobody_from_their_own(
    clock: ManualClock, server: CertificateServer, provider: PayPalProvider
):
    await verified(provider, server.signed(BODY, at_us=AT_US))
    headers = server.signed(BODY, at_us=AT_US)
    known = headers["paypal-cert-url"]
    after = paypal_adapter(
        "http://127.0.0.1:9", certificates=certificates_of(server.url, here=True)
    )
    after.know_keys([known])
    server.gate.clear()
    made_up = headers | {"paypal-cert-url": known.replace("CERT-", MADE_UP)}
    crowd = [asyncio.create_task(after.fetch_keys(made_up)) for _ in range(STRANGERS_MAX)]
    await asyncio.sleep(0)

    with pytest.raises(KeysUnavailable, match="too many wait"):
        await after.fetch_keys(made_up)
    async with asyncio.timeout(5):
        await verified(after, headers)

    server.gate.set()
    await asyncio.gather(*crowd)
    await after.close()


@pytest.mark.parametrize(
    "hostile", ["", "\0", "é", ",", "|", "a|b", " ", "9" * 5_000, "=" * 5_000, "A" * 100_000]
)
async def test_hostile_headers_are_refused_at_once(
    server: CertificateServer, provider: PayPalProvider, hostile: str
):
    genuine = server.signed(BODY, at_us=AT_US)
    await provider.fetch_keys(genuine)
    began = time.process_time()

    for name in genuine:
        headers = genuine | {name: hostile}
        with pytest.raises(SignatureInvalid):
            await provider.fetch_keys(headers)
        with pytest.raises(SignatureInvalid):
            provider.verify(headers, BODY, now_us=AT_US)

    assert time.process_time() - began < 0.05 * len(genuine)


async def test_the_sandbox_s_own_webhook_is_taken():
    clock = ManualClock()
    async with Inbox() as inbox, sandbox_rig(clock=clock, gateway_url=inbox.url) as rig:
        provider = paypal_adapter(rig.sandbox.url)
        charged = await provider.charge(charge_call(APPROVED, "txn_1-1"))
        await inbox.wait_for(1)
        ((headers, body),) = inbox.received

        await provider.fetch_keys(headers)
        provider.verify(headers, body, now_us=clock.now_us())
        (event,) = provider.parse(headers, body)
        await provider.close()

    assert event.provider_txn_id == getattr(charged, "provider_txn_id", None)
    assert (event.event_type, event.reference) == ("payment.succeeded", "txn_1-1")


def parsed(type_: str, resource: dict[str, Any], **changes: object) -> ProviderEvent:
    provider = paypal_adapter("https://api-m.paypal.com")
    (event,) = provider.parse({}, paypal_event(type_, resource, **changes))
    return event


def dispute(**changes: object) -> dict[str, Any]:
    return {
        "dispute_id": "PP-D-1",
        "status": "UNDER_REVIEW",
        "reason": "UNAUTHORISED",
        "dispute_life_cycle_stage": "CHARGEBACK",
        "dispute_amount": amount("10.00"),
        "disputed_transactions": [{"seller_transaction_id": "CAP1", "custom": "txn_1-1"}],
        **changes,
    }


@pytest.mark.parametrize(
    ("type_", "resource", "event_type", "txn", "reference", "minor"),
    [
        ("PAYMENT.CAPTURE.COMPLETED", capture(), "payment.succeeded", "ORDER1", "txn_1-1", 1_000),
        (
            "PAYMENT.CAPTURE.COMPLETED",
            capture(invoice_id="txn_3-1"),
            "payment.succeeded",
            "ORDER1",
            "txn_3-1",
            1_000,
        ),
        (
            "PAYMENT.CAPTURE.DENIED",
            capture(status="DECLINED"),
            "payment.failed",
            "ORDER1",
            "txn_1-1",
            1_000,
        ),
        (
            "PAYMENT.AUTHORIZATION.CREATED",
            capture(status="CREATED"),
            "payment.authorized",
            "ORDER1",
            "txn_1-1",
            1_000,
        ),
        (
            "PAYMENT.AUTHORIZATION.CREATED",
            capture(status="PENDING"),
            "PAYMENT.AUTHORIZATION.CREATED",
            "ORDER1",
            "txn_1-1",
            1_000,
        ),
        (
            "PAYMENT.AUTHORIZATION.VOIDED",
            capture(status="VOIDED"),
            "payment.expired",
            "ORDER1",
            "txn_1-1",
            1_000,
        ),
        ("PAYMENT.CAPTURE.REFUNDED", refund(), "refund.succeeded", "REFUND1", "txn_2-1", 250),
        (
            "PAYMENT.REFUND.FAILED",
            refund(status="FAILED"),
            "refund.failed",
            "REFUND1",
            "txn_2-1",
            250,
        ),
        (
            "CHECKOUT.ORDER.APPROVED",
            order(status="APPROVED", payments={}),
            "payment.payer_done",
            "ORDER1",
            "txn_1-1",
            None,
        ),
        ("CUSTOMER.DISPUTE.CREATED", dispute(), "dispute.opened", "PP-D-1", "txn_1-1", 1_000),
        (
            "CUSTOMER.DISPUTE.CREATED",
            dispute(dispute_life_cycle_stage="INQUIRY"),
            "CUSTOMER.DISPUTE.CREATED",
            "PP-D-1",
            "txn_1-1",
            1_000,
        ),
        ("BILLING.PLAN.CREATED", {"id": "P-1"}, "BILLING.PLAN.CREATED", "", None, None),
    ],
)
def test_an_event_says_what_became_of_money(
    type_: str,
    resource: dict[str, Any],
    event_type: str,
    txn: str,
    reference: str | None,
    minor: int | None,
):
    event = parsed(type_, resource)

    assert (event.event_type, event.provider_txn_id) == (event_type, txn)
    assert event.reference == reference
    assert event.amount == (Money(minor, "USD") if minor is not None else None)
    assert event.at_us == AT_US


@pytest.mark.parametrize(
    ("code", "won"),
    [
        ("RESOLVED_BUYER_FAVOUR", False),
        ("ACCEPTED", False),
        ("RESOLVED_SELLER_FAVOUR", True),
        ("RESOLVED_WITH_PAYOUT", True),
        ("CANCELED_BY_BUYER", True),
        ("NONE", None),
    ],
)
def test_a_resolved_dispute_says_who_won(code: str, won: bool | None):  # noqa: FBT001 - a table
    event = parsed(
        "CUSTOMER.DISPUTE.RESOLVED",
        dispute(status="RESOLVED", dispute_outcome={"outcome_code": code}),
    )

    assert (event.event_type, event.dispute_won) == ("dispute.closed", won)


def test_the_network_s_id_of_a_payment_is_handed_on():
    network = {"id": "123456789"}

    event = parsed("PAYMENT.CAPTURE.COMPLETED", capture(network_transaction_reference=network))

    assert event.network_txn_id == "123456789"


def test_a_declined_capture_leads_to_the_same_decision_as_its_answer():
    resource = capture(status="DECLINED", processor_response={"response_code": "8000"})

    event = parsed("PAYMENT.CAPTURE.DECLINED", resource)

    assert (event.reason, event.retryable) == ("processing_error", True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"{" * 5_000,
        b'{"id": NaN}',
        b"\xff",
        paypal_event("PAYMENT.CAPTURE.COMPLETED", {}),
        paypal_event("PAYMENT.CAPTURE.COMPLETED", capture(amount=amount("x"))),
        paypal_event("PAYMENT.CAPTURE.COMPLETED", capture(amount=amount("1.00", "XXX"))),
        paypal_event("PAYMENT.CAPTURE.COMPLETED", capture(), create_time="yesterday"),
        paypal_event("PAYMENT.CAPTURE.COMPLETED", capture(), create_time="2026-01-01T00:00:00"),
        json.dumps({"id": "", "event_type": "X", "create_time": "", "resource": {}}).encode(),
    ],
)
def test_a_body_that_is_none_is_refused(body: bytes):
    provider = paypal_adapter("https://api-m.paypal.com")

    with pytest.raises(BodyInvalid) as refused:
        provider.parse({}, body)

    assert len(str(refused.value)) < 100
