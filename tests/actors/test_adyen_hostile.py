"""Hostile webhooks at Adyen's adapter, whose signature is in the body and covers a part of it."""

import pytest
from adyen_rig import LOGIN, SIGNED, adyen_adapter, item, login_header, notification, signed
from webhook_suite import Signed, WebhookSuite

from paygate_actors.providers.base import SignatureInvalid

NOW_US = 1_767_225_600_000_000
SAID = item(originalReference="9913140798220028", eventCode="CAPTURE")


class TestAdyenWebhooks(WebhookSuite):
    signs_time = False

    @pytest.fixture
    def signed(self) -> Signed:
        # With a login, so that there is a header to be hostile in.
        return Signed(
            provider=adyen_adapter("http://127.0.0.1:1", webhook_login=LOGIN),
            headers=login_header(),
            body=notification(signed(SAID)),
            now_us=NOW_US,
            signature_headers=("authorization",),
        )

    def test_a_changed_byte_is_refused_wherever_it_is(self, signed: Signed):
        """Wherever Adyen signs: the date and the reason's text are not, and decide nothing."""
        for name in SIGNED:
            value = str({**SAID, **SAID["amount"]}[name]).encode()
            start = signed.body.index(value)
            for at in range(start, start + len(value)):
                changed = bytearray(signed.body)
                changed[at] ^= 1

                with pytest.raises(SignatureInvalid):
                    signed.provider.verify(signed.headers, bytes(changed), now_us=NOW_US)

    def test_what_is_not_signed_decides_nothing(self, signed: Signed):
        other = {**SAID, "eventDate": "2020-01-01T00:00:00Z", "reason": "x", "paymentMethod": "mc"}

        (mine,) = signed.provider.parse({}, signed.body)
        (theirs,) = signed.provider.parse({}, notification(other))

        assert (mine.event_id, mine.event_type) == (theirs.event_id, theirs.event_type)
        assert (mine.reference, mine.amount) == (theirs.reference, theirs.amount)
