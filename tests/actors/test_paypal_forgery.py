"""PayPal signs 32 bits of a body: what somebody makes of a webhook that he has seen."""

import json
import zlib

import pytest
from paypal_rig import CertificateServer, capture, certificate_server, paypal_event
from paypal_rig import paypal_adapter as adapter

from paygate_actors.providers.base import SignatureInvalid
from paygate_actors.providers.paypal import PayPalProvider
from paygate_actors.providers.paypal_certificates import certificates_of
from paygate_actors.providers.paypal_signature import REPLAY_WINDOW_S, SEEN_MAX, SeenBodies
from paygate_engine.clock import ManualClock

HONEST = paypal_event("PAYMENT.CAPTURE.DENIED", capture(status="DECLINED"))
CLAIM = paypal_event("PAYMENT.CAPTURE.COMPLETED", capture(), id="WH-FORGED")
# One blank for each of 32 bits, and a few more so that some of them are independent for sure.
BLANKS = 64


def forged(claim: bytes, checksum: int) -> bytes:
    """The claim with blanks behind it that give it this checksum: CRC-32 is linear, so no search.

    Each blank is a space or a tab; a tab changes the checksum by the same bits whatever the others
    are. Those whose changes together make up the difference are found by elimination.
    """

    def written(tabs: int) -> bytes:
        return claim + bytes(9 if tabs >> each & 1 else 32 for each in range(BLANKS))

    plain = zlib.crc32(written(0))
    basis: dict[int, tuple[int, int]] = {}
    for each in range(BLANKS):
        change, tabs = zlib.crc32(written(1 << each)) ^ plain, 1 << each
        while change and change.bit_length() in basis:
            known = basis[change.bit_length()]
            change, tabs = change ^ known[0], tabs ^ known[1]
        if change:
            basis[change.bit_length()] = (change, tabs)
    wanted, found = checksum ^ plain, 0
    while wanted:
        change, tabs = basis[wanted.bit_length()]
        wanted, found = wanted ^ change, found ^ tabs
    return written(found)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def known(server: CertificateServer, clock: ManualClock) -> PayPalProvider:
    """An adapter that has the certificate."""
    here = certificates_of(server.url, here=True)
    provider = adapter("http://127.0.0.1:9", certificates=here)
    await provider.fetch_keys(server.signed(HONEST, at_us=clock.now_us()))
    return provider


async def test_one_transmission_stands_for_one_body(clock: ManualClock):
    forgery = forged(CLAIM, zlib.crc32(HONEST))
    assert zlib.crc32(forgery) == zlib.crc32(HONEST)
    assert json.loads(forgery)["event_type"] == "PAYMENT.CAPTURE.COMPLETED"
    async with certificate_server(clock) as server:
        provider = await known(server, clock)
        headers = server.signed(HONEST, at_us=clock.now_us())
        provider.verify(headers, HONEST, now_us=clock.now_us())

        with pytest.raises(SignatureInvalid, match="another body"):
            provider.verify(headers, forgery, now_us=clock.now_us())
        provider.verify(headers, HONEST, now_us=clock.now_us())  # PayPal repeats itself
        await provider.close()


async def test_a_body_is_remembered_for_as_long_as_its_signature_is_taken(clock: ManualClock):
    """A signature may be of five minutes hence: it is taken for ten."""
    forgery = forged(CLAIM, zlib.crc32(HONEST))
    window_us = REPLAY_WINDOW_S * 1_000_000
    async with certificate_server(clock) as server:
        provider = await known(server, clock)
        at_us = clock.now_us() + window_us
        headers = server.signed(HONEST, at_us=at_us)
        provider.verify(headers, HONEST, now_us=clock.now_us())

        later = server.signed(HONEST, at_us=at_us + window_us, transmission_id="WH-2")
        provider.verify(later, HONEST, now_us=at_us + window_us)

        with pytest.raises(SignatureInvalid, match="another body"):
            provider.verify(headers, forgery, now_us=at_us + window_us)
        with pytest.raises(SignatureInvalid, match="too long ago"):
            provider.verify(headers, forgery, now_us=at_us + window_us + 1)
        await provider.close()


def test_what_is_remembered_is_bounded():
    seen = SeenBodies()

    for number in range(SEEN_MAX + 10):
        seen.hold(f"{number}", b"", until_us=number, now_us=0)

    assert len(seen) == SEEN_MAX
    seen.hold("new", b"", until_us=SEEN_MAX + 20, now_us=SEEN_MAX + 15)
    assert len(seen) == 1
