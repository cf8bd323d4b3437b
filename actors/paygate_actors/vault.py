"""The vault's cipher and every keyed hash: how a card number rests, and how it is recognised.

A number, or a provider's token that may be charged like one, rests as AES-256-GCM under one of
several keys, bound to our token of it and its merchant, so that a row that was moved to another
token or merchant does not open. The first key seals, all of them open: to rotate, put a new one in
front. Hashes are HMAC-SHA256 under a key of their own that never changes, separated by domain,
because an unkeyed hash of a card number is found by trying all numbers. Where sealed bytes are kept
is the journal's business. The CVV never comes here.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from paygate_actors.credentials import is_token

KEY_BYTES = 32
KEY_ID_BYTES_MAX = 32

# What is sealed is: format, length of the key's id, the id, nonce, cipher text, tag. The format is
# bound with the rest, so that no token opens as a number.
_NUMBER = 1
_TOKEN = 2
_SECRET = 3
_HEADER_BYTES_MIN = 2
_NONCE_BYTES = 12

# The plain text is padded to the longest number, so that a sealed row does not tell the length.
_PADDED_BYTES = 19
# The same for tokens, of which most providers' have one length.
_TOKEN_STEP_BYTES = 64

_DOMAIN_CARD = "card-number"
_DOMAIN_TOKEN = "provider-token"  # noqa: S105 - the name of a hash's domain
_SUBKEY_LABEL = b"paygate keyed hash v1: "


class SealBroken(Exception):
    """The sealed bytes were changed, moved to another token or merchant, or cut short."""


class KeyMissing(Exception):
    """The sealed bytes name a key that the configuration does not hold; the text names it."""


class Vault:
    """Seals and opens card numbers, and makes keyed hashes. Keys are 32 bytes each.

    `keys` are pairs of a public id (1 to 32 ASCII characters) and a key; the first one seals.
    `random` gives as many bytes as asked: `os.urandom`, or a seeded source in a simulation. A
    nonce may never repeat under one key: with random ones that holds for 2^32 seals a key.
    Raises `ValueError` for keys that are none.
    """

    def __init__(
        self,
        keys: Sequence[tuple[str, bytes]],
        fingerprint_key: bytes,
        *,
        random: Callable[[int], bytes],
    ) -> None:
        if not keys:
            raise ValueError("the vault needs at least one key")
        if len({key_id for key_id, _ in keys}) != len(keys):
            raise ValueError("two vault keys share one id")
        for key_id, key in keys:
            _check_key(key_id, key)
        if len(fingerprint_key) != KEY_BYTES:
            raise ValueError(f"the fingerprint key must have {KEY_BYTES} bytes")
        if any(hmac.compare_digest(fingerprint_key, key) for _, key in keys):
            raise ValueError("the fingerprint key must not be a vault key as well")
        self._ciphers = {key_id.encode("ascii"): AESGCM(key) for key_id, key in keys}
        self._newest = keys[0][0].encode("ascii")
        self._fingerprint_key = fingerprint_key
        self._random = random
        self._subkeys: dict[str, hmac.HMAC] = {}

    def __repr__(self) -> str:
        return f"<vault of {len(self._ciphers)} keys>"

    def seal(self, number: str, *, token: str, merchant: str) -> bytes:
        """Encrypt a card number of at most 19 digits for its token and merchant.

        Raises `ValueError` for what is no plain number.
        """
        if not (number.isascii() and number.isdecimal() and len(number) <= _PADDED_BYTES):
            # Neither this text nor an encoder's error may repeat the value.
            raise ValueError(f"a card number has at most {_PADDED_BYTES} ASCII digits")
        plain = number.encode("ascii").ljust(_PADDED_BYTES)
        return self._seal(_NUMBER, plain, token=token, merchant=merchant)

    def seal_token(self, provider_token: str, *, token: str, merchant: str) -> bytes:
        """Encrypt a provider's token for our own token of it and its merchant.

        Raises `ValueError` for what is no text of visible ASCII.
        """
        if not is_token(provider_token):
            raise ValueError("a provider's token is visible ASCII")  # and is not repeated here
        plain = provider_token.encode("ascii")
        padded = plain.ljust(-(-len(plain) // _TOKEN_STEP_BYTES) * _TOKEN_STEP_BYTES)
        return self._seal(_TOKEN, padded, token=token, merchant=merchant)

    def open(self, sealed: bytes, *, token: str, merchant: str) -> str:
        """Decrypt what `seal` made for this token and merchant.

        Raises `SealBroken`, `KeyMissing`.
        """
        return self._open(_NUMBER, sealed, token=token, merchant=merchant)

    def open_token(self, sealed: bytes, *, token: str, merchant: str) -> str:
        """Decrypt what `seal_token` made for this token and merchant.

        Raises `SealBroken`, `KeyMissing`.
        """
        return self._open(_TOKEN, sealed, token=token, merchant=merchant)

    def new_secret(self, size: int) -> bytes:
        """Draw a secret of so many bytes."""
        return self._random(size)

    def seal_secret(self, secret: str, *, owner: str, merchant: str) -> bytes:
        """Encrypt a signing secret of ASCII text for the thing of the merchant's that owns it."""
        return self._seal(_SECRET, secret.encode("ascii"), token=owner, merchant=merchant)

    def open_secret(self, sealed: bytes, *, owner: str, merchant: str) -> str:
        """Decrypt what `seal_secret` made for this owner. Raises `SealBroken`, `KeyMissing`."""
        return self._open(_SECRET, sealed, token=owner, merchant=merchant)

    def _seal(self, kind: int, plain: bytes, *, token: str, merchant: str) -> bytes:
        header = bytes((kind, len(self._newest))) + self._newest
        nonce = self._random(_NONCE_BYTES)
        bound = _bound(header, token=token, merchant=merchant)
        return header + nonce + self._ciphers[self._newest].encrypt(nonce, plain, bound)

    def _open(self, kind: int, sealed: bytes, *, token: str, merchant: str) -> str:
        header, rest = _split(sealed)
        if header[0] != kind:
            raise SealBroken("what is sealed here is something else")
        cipher = self._ciphers.get(header[_HEADER_BYTES_MIN:])
        if cipher is None:
            raise KeyMissing(
                f"no vault key with id {header[_HEADER_BYTES_MIN:].decode('ascii', 'replace')!r}"
            )
        bound = _bound(header, token=token, merchant=merchant)
        try:
            plain = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise SealBroken("what is sealed does not open") from error
        return plain.rstrip().decode("ascii")

    def needs_rotation(self, sealed: bytes) -> bool:
        """Tell whether another key than the first one sealed this. Raises `SealBroken`."""
        header, _ = _split(sealed)
        return header[_HEADER_BYTES_MIN:] != self._newest

    def fingerprint(self, number: str) -> str:
        """Make the number's keyed hash, 64 hex digits: equal for equal cards, for ever."""
        return self.mac(_DOMAIN_CARD, number.encode()).hex()

    def token_fingerprint(self, provider: str, provider_token: str) -> str:
        """Make the keyed hash of a provider's token, 64 hex digits, unlike that of any card."""
        # No provider's id has a line end in it: two pairs cannot run together.
        return self.mac(_DOMAIN_TOKEN, f"{provider}\n{provider_token}".encode()).hex()

    def mac(self, domain: str, data: bytes) -> bytes:
        """Make the 32-byte keyed hash of `data`; equal data in two domains have nothing in common.

        `domain` is one of the code's own few names, never input: each keeps a derived key.
        """
        keyed = self._subkeys.get(domain)
        if keyed is None:
            subkey = hmac.digest(self._fingerprint_key, _SUBKEY_LABEL + domain.encode(), "sha256")
            keyed = self._subkeys[domain] = hmac.new(subkey, digestmod=hashlib.sha256)
        made = keyed.copy()
        made.update(data)
        return made.digest()


def _check_key(key_id: str, key: bytes) -> None:
    if not (key_id.isascii() and key_id.isprintable() and 1 <= len(key_id) <= KEY_ID_BYTES_MAX):
        raise ValueError(f"a vault key's id has 1 to {KEY_ID_BYTES_MAX} printable ASCII characters")
    if len(key) != KEY_BYTES:
        raise ValueError(f"vault key {key_id!r} must have {KEY_BYTES} bytes")


def _bound(header: bytes, *, token: str, merchant: str) -> bytes:
    # The length of the first keeps ("a", "bc") and ("ab", "c") apart; the header is bound too.
    owner = token.encode()
    return header + len(owner).to_bytes(4, "big") + owner + merchant.encode()


def _split(sealed: bytes) -> tuple[bytes, bytes]:
    """Cut into header (format, length, key id) and the rest (nonce, cipher text and tag)."""
    if len(sealed) < _HEADER_BYTES_MIN or sealed[0] not in (_NUMBER, _TOKEN, _SECRET):
        raise SealBroken("what is sealed has an unknown format")
    end = _HEADER_BYTES_MIN + sealed[1]
    return sealed[:end], sealed[end:]
