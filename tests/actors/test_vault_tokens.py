"""Providers' tokens in the vault: sealed like numbers, and never taken for one."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.vault import KeyMissing, SealBroken, Vault

TOKEN = "pm_1NxYzAbCdEfGhIjKlMnOpQrS"
OWNER = {"token": "ptk_1", "merchant": "merchant_a"}
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)


def vault(key: bytes = b"o" * 32, hashing: bytes = b"h" * 32) -> Vault:
    return Vault((("k1", key),), hashing, random=random.Random(7).randbytes)


@given(VISIBLE)
def test_a_token_that_was_sealed_opens_and_shows_neither_itself_nor_its_length(token: str):
    sealed = vault().seal_token(token, **OWNER)

    assert vault().open_token(sealed, **OWNER) == token
    assert len(token) < 4 or token.encode() not in sealed
    assert (len(sealed) - len(vault().seal_token("x", **OWNER))) % 64 == 0


@pytest.mark.parametrize(
    "other",
    [{"token": "ptk_2", "merchant": "merchant_a"}, {"token": "ptk_1", "merchant": "merchant_b"}],
)
def test_a_token_does_not_open_for_somebody_else(other: dict[str, str]):
    sealed = vault().seal_token(TOKEN, **OWNER)

    with pytest.raises(SealBroken):
        vault().open_token(sealed, **other)


def test_no_byte_of_a_sealed_token_can_be_changed():
    sealed = vault().seal_token(TOKEN, **OWNER)

    for place in range(len(sealed)):
        forged = bytearray(sealed)
        forged[place] ^= 1
        with pytest.raises((SealBroken, KeyMissing)):
            vault().open_token(bytes(forged), **OWNER)


def test_a_token_is_no_number_and_a_number_no_token_whatever_their_first_byte_says():
    token = vault().seal_token("4242424242424242", **OWNER)
    number = vault().seal("4242424242424242", **OWNER)

    for sealed, read in ((token, vault().open), (number, vault().open_token)):
        other = bytes((3 - sealed[0],)) + sealed[1:]
        for claimed in (sealed, other):
            with pytest.raises(SealBroken):
                read(claimed, **OWNER)


@pytest.mark.parametrize("token", ["", "two words", "t\n", "tök", "x" * 201])
def test_what_is_no_token_is_not_sealed_and_not_repeated(token: str):
    with pytest.raises(ValueError, match="visible ASCII") as refused:
        vault().seal_token(token, **OWNER)

    assert not token or token not in str(refused.value)


def test_equal_tokens_of_two_providers_have_two_fingerprints_and_no_card_s():
    box = vault()
    found = {
        box.token_fingerprint("stripe", TOKEN),
        box.token_fingerprint("adyen", TOKEN),
        box.token_fingerprint("stripe", TOKEN + "x"),
        box.fingerprint(TOKEN),
        box.fingerprint(f"stripe\n{TOKEN}"),
        vault(hashing=b"i" * 32).token_fingerprint("stripe", TOKEN),
    }

    assert len(found) == 6
    assert box.token_fingerprint("stripe", TOKEN) in found


def test_a_token_sealed_under_an_old_key_opens_and_wants_rotation():
    sealed = vault().seal_token(TOKEN, **OWNER)
    after = Vault((("k2", b"n" * 32), ("k1", b"o" * 32)), b"h" * 32, random=random.randbytes)

    assert after.open_token(sealed, **OWNER) == TOKEN
    assert after.needs_rotation(sealed)
