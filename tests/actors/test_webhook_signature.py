"""Which webhooks are believed, and in which words the others are refused."""

import base64
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from paygate_actors.providers.base import SignatureInvalid
from paygate_actors.providers.webhook_signature import (
    REPLAY_WINDOW_S,
    SIGNATURES_MAX,
    WebhookSignature,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECONDS = 1_800_000_000
NOW_US = SECONDS * 1_000_000
BODY = '{"amount": 1, "name": "Zoë"}'.encode()
CHECKER = WebhookSignature(SECRET)
# As written down once: what senders sign today must be believed after an upgrade.
GOLDEN = "v1,wiyRL86OA60CB/oBQcv+qxXGPxGJm9t3qi2LmnBttVs="

BAD_ID = "the webhook-id header is missing or malformed"
BAD_TIME = "the webhook-timestamp header is missing or malformed"
TOO_FAR = "the webhook was signed too long ago, or in the future"
NO_TEXT = "the body is not UTF-8, so nobody can have signed it"
NOT_OURS = "no signature of the webhook is ours"


def signed(message_id: str = "msg_1", body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    """The headers of a genuine webhook."""
    at = datetime.fromtimestamp(SECONDS, UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(SECONDS),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


def refused(headers: dict[str, str], body: bytes = BODY, *, now_us: int = NOW_US) -> str:
    """The words in which the webhook is refused."""
    with pytest.raises(SignatureInvalid) as caught:
        CHECKER.check(headers, body, now_us=now_us)
    return str(caught.value)


def without(name: str) -> dict[str, str]:
    headers = signed()
    del headers[name]
    return headers


@pytest.fixture
def far_from_utc() -> Iterator[None]:
    """A machine whose clock on the wall is thirteen hours away."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "XXX-13"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_a_genuine_webhook_is_believed():
    CHECKER.check(signed(), BODY, now_us=NOW_US)


def test_a_signature_that_was_written_down_once_is_believed_for_ever():
    headers = signed() | {"webhook-signature": GOLDEN}

    CHECKER.check(headers, BODY, now_us=NOW_US)


@pytest.mark.usefixtures("far_from_utc")
def test_the_time_zone_of_the_machine_is_of_no_account():
    CHECKER.check(signed() | {"webhook-signature": GOLDEN}, BODY, now_us=NOW_US)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_webhook_is_believed_to_the_last_microsecond_of_the_window(side: int):
    edge_us = NOW_US + side * REPLAY_WINDOW_S * 1_000_000

    CHECKER.check(signed(), BODY, now_us=edge_us)

    assert refused(signed(), now_us=edge_us + side) == TOO_FAR


def test_the_window_is_the_specifications_five_minutes():
    assert REPLAY_WINDOW_S == 5 * 60


def test_each_missing_header_is_refused_in_its_own_words():
    assert refused(without("webhook-id")) == BAD_ID
    assert refused(without("webhook-timestamp")) == BAD_TIME
    assert refused(without("webhook-signature")) == NOT_OURS
    assert refused({}) == BAD_ID


@pytest.mark.parametrize("character", ["!", "-", "/", "~", "0", "a"])
def test_an_id_may_hold_any_visible_character_but_a_dot(character: str):
    message_id = f"msg{character}1"

    CHECKER.check(signed(message_id), BODY, now_us=NOW_US)


@pytest.mark.parametrize("message_id", ["", "a.b", ".", "a b", "a\x7fb", "é", "a\n", "m" * 256])
def test_an_id_that_could_move_a_border_is_refused_before_anything_is_compared(message_id: str):
    assert refused(signed(message_id)) == BAD_ID


def test_an_id_may_be_255_characters_long():
    CHECKER.check(signed("m" * 255), BODY, now_us=NOW_US)


@pytest.mark.parametrize(
    "seconds",
    ["", "0", f"0{SECONDS}", f"+{SECONDS}", f" {SECONDS}", f"{SECONDS}.0", "-1", "1e9", "now"],
)
def test_a_time_that_is_not_written_the_one_way_is_refused(seconds: str):
    assert refused(signed() | {"webhook-timestamp": seconds}) == BAD_TIME


def test_a_number_of_seconds_has_at_most_twelve_digits():
    assert refused(signed() | {"webhook-timestamp": "9" * 12}) == TOO_FAR
    assert refused(signed() | {"webhook-timestamp": "9" * 13}) == BAD_TIME
    assert refused(signed() | {"webhook-timestamp": "1"}) == TOO_FAR


def test_a_body_that_is_no_text_is_refused():
    assert refused(signed(), b"\xff") == NO_TEXT


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(), BODY + b" "),
        (signed() | {"webhook-id": "msg_2"}, BODY),
        (signed() | {"webhook-timestamp": str(SECONDS + 1)}, BODY),
        (signed(secret="whsec_" + base64.b64encode(bytes(32)).decode()), BODY),
        (signed() | {"webhook-signature": ""}, BODY),
        (signed() | {"webhook-signature": GOLDEN.upper()}, BODY),
        (signed() | {"webhook-signature": GOLDEN[:-1]}, BODY),
        (signed() | {"webhook-signature": GOLDEN.removeprefix("v1,")}, BODY),
        (signed() | {"webhook-signature": "v1a" + GOLDEN.removeprefix("v1")}, BODY),
        (signed() | {"webhook-signature": "v1,\udcff é \N{SNOWMAN}"}, BODY),
    ],
)
def test_whatever_was_changed_on_the_way_leaves_no_signature_of_ours(
    headers: dict[str, str], body: bytes
):
    assert refused(headers, body) == NOT_OURS


def test_signatures_stand_one_space_apart_and_nothing_else_parts_them():
    CHECKER.check(signed() | {"webhook-signature": f"v1,AAAA {GOLDEN}"}, BODY, now_us=NOW_US)

    for gap in ("\t", "\n", ",", "\xa0"):
        assert refused(signed() | {"webhook-signature": f"v1,AAAA{gap}{GOLDEN}"}) == NOT_OURS


def test_as_many_signatures_as_a_rotation_needs_are_looked_at_and_no_more():
    others = "v1,AAAA " * (SIGNATURES_MAX - 1)

    CHECKER.check(signed() | {"webhook-signature": others + GOLDEN}, BODY, now_us=NOW_US)

    one_more = {"webhook-signature": f"{others}v1,AAAA {GOLDEN}"}
    assert refused(signed() | one_more) == NOT_OURS


def test_a_header_of_more_than_a_kilobyte_is_not_read():
    filler = "x" * (1_024 - len(GOLDEN) - 1)

    CHECKER.check(signed() | {"webhook-signature": f"{GOLDEN} {filler}"}, BODY, now_us=NOW_US)

    assert refused(signed() | {"webhook-signature": f"{GOLDEN} {filler}x"}) == NOT_OURS


@pytest.mark.parametrize("secret", ["", "   "])
def test_an_empty_secret_is_refused(secret: str):
    with pytest.raises(ValueError, match=r"^the webhook secret is empty$"):
        WebhookSignature(secret)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_é", "whsec_A"])
def test_a_secret_that_is_none_is_refused_without_being_repeated(secret: str):
    with pytest.raises(
        ValueError, match=r"^the webhook secret is not whsec_ and base64$"
    ) as caught:
        WebhookSignature(secret)

    assert caught.value.__suppress_context__


def test_a_checker_shows_nothing_of_its_secret():
    assert SECRET.removeprefix("whsec_") not in repr(CHECKER)
    assert "whsec_" not in f"{CHECKER!r} {CHECKER}"
