import hashlib
import os
import random
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygate_actors.vault import KeyMissing, SealBroken, Vault

NUMBER = "4242424242424242"
OLD, NEW, HASHING = b"o" * 32, b"n" * 32, b"h" * 32
OWNER = {"token": "tok_1", "merchant": "merchant_a"}


def vault(
    *keys: tuple[str, bytes], hashing: bytes = HASHING, source: Callable[[int], bytes] = os.urandom
):
    return Vault(keys or (("k1", OLD),), hashing, random=source)


@given(number=st.text("0123456789", min_size=13, max_size=19), token=st.text(), merchant=st.text())
def test_what_was_sealed_opens_for_its_token_and_merchant(number: str, token: str, merchant: str):
    box = vault()

    sealed = box.seal(number, token=token, merchant=merchant)

    assert box.open(sealed, token=token, merchant=merchant) == number
    assert number.encode() not in sealed


@pytest.mark.parametrize(
    "other",
    [
        {"token": "tok_2", "merchant": "merchant_a"},
        {"token": "tok_1", "merchant": "merchant_b"},
        {"token": "tok_1m", "merchant": "erchant_a"},
        {"token": "", "merchant": "tok_1merchant_a"},
    ],
)
def test_a_row_that_was_moved_to_another_token_or_merchant_does_not_open(other: dict[str, str]):
    sealed = vault().seal(NUMBER, **OWNER)

    with pytest.raises(SealBroken):
        vault().open(sealed, **other)


def test_no_byte_of_a_sealed_number_can_be_changed():
    sealed = vault(("k1", OLD), ("k2", NEW)).seal(NUMBER, **OWNER)

    for place in range(len(sealed)):
        for bit in range(8):
            forged = bytearray(sealed)
            forged[place] ^= 1 << bit
            with pytest.raises((SealBroken, KeyMissing)):
                vault(("k1", OLD), ("k2", NEW)).open(bytes(forged), **OWNER)


def test_no_part_of_a_sealed_number_opens():
    sealed = vault().seal(NUMBER, **OWNER)

    for length in range(len(sealed)):
        with pytest.raises((SealBroken, KeyMissing)):
            vault().open(sealed[:length], **OWNER)
    with pytest.raises(SealBroken):
        vault().open(sealed + b"\0", **OWNER)


@given(forged=st.binary(max_size=100))
def test_garbage_never_opens_and_never_raises_anything_else(forged: bytes):
    with pytest.raises((SealBroken, KeyMissing)):
        vault().open(forged, **OWNER)


def test_the_same_key_under_another_id_does_not_open_what_it_sealed():
    """The header is bound too: nobody can relabel a row."""
    sealed = vault(("k1", OLD)).seal(NUMBER, **OWNER)
    relabelled = sealed.replace(b"k1", b"k2", 1)

    with pytest.raises(SealBroken):
        vault(("k2", OLD)).open(relabelled, **OWNER)


def test_a_new_key_in_front_seals_and_the_old_one_still_opens():
    before, after = vault(("k1", OLD)), vault(("k2", NEW), ("k1", OLD))
    sealed = before.seal(NUMBER, **OWNER)

    assert after.open(sealed, **OWNER) == NUMBER
    assert after.needs_rotation(sealed)
    resealed = after.seal(NUMBER, **OWNER)
    assert not after.needs_rotation(resealed)
    with pytest.raises(KeyMissing, match="k2"):
        before.open(resealed, **OWNER)


def test_two_seals_of_one_number_have_nothing_in_common_but_the_header():
    first, second = (vault().seal(NUMBER, **OWNER) for _ in range(2))

    assert first[:4] == second[:4]
    assert first[4:] != second[4:]


def test_the_length_of_a_sealed_number_does_not_tell_the_length_of_the_number():
    lengths = {len(vault().seal("4" * digits, **OWNER)) for digits in range(13, 20)}

    assert len(lengths) == 1


def test_a_seeded_source_makes_the_same_bytes_again():
    first, second = (
        vault(source=random.Random(7).randbytes).seal(NUMBER, **OWNER) for _ in range(2)
    )

    assert first == second


@pytest.mark.parametrize("number", ["4" * 20, "4242 4242", "٤٢", "²", "x" * 16])
def test_what_is_no_plain_number_is_not_sealed_and_not_repeated(number: str):
    with pytest.raises(ValueError, match="ASCII digits") as refused:
        vault().seal(number, **OWNER)

    assert number not in "".join(traceback.format_exception_only(refused.value))


def test_a_fingerprint_is_the_same_for_one_card_and_another_for_any_other():
    first, again = vault(("k1", OLD)).fingerprint(NUMBER), vault(("k2", NEW)).fingerprint(NUMBER)

    assert first == again
    assert first != vault().fingerprint("4111111111111111")
    assert len(first) == 64


def test_a_fingerprint_depends_on_its_key_and_is_no_plain_hash():
    """An unkeyed hash of a card number is found by trying all numbers."""
    fingerprint = vault().fingerprint(NUMBER)

    plain = {hashlib.new(name, NUMBER.encode()).hexdigest() for name in ("md5", "sha1", "sha256")}
    assert fingerprint not in plain
    assert fingerprint != vault(hashing=b"x" * 32).fingerprint(NUMBER)


def test_hashes_of_one_text_in_two_domains_have_nothing_in_common():
    box = vault()

    assert box.mac("request", b"data") == vault().mac("request", b"data")
    assert box.mac("request", b"data") != box.mac("other", b"data")
    assert box.mac("request", b"data") != box.mac("request", b"other")
    assert box.mac("a", b"bc") != box.mac("ab", b"c")
    assert box.mac("card-number", NUMBER.encode()).hex() == box.fingerprint(NUMBER)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [("k1", b"short")],
        [("", OLD)],
        [("k" * 33, OLD)],
        [("ключ", OLD)],
        [("k1", OLD), ("k1", NEW)],
        [("k1", HASHING)],
    ],
)
def test_keys_that_are_none_are_refused(keys: list[tuple[str, bytes]]):
    with pytest.raises(ValueError, match="key"):
        Vault(keys, HASHING, random=os.urandom)


def test_a_short_hashing_key_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        vault(hashing=b"short")


def test_a_vault_shows_no_key():
    assert repr(vault()) == "<vault of 1 keys>"
