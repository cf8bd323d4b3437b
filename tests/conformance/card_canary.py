"""Card numbers that nobody else uses, and a search for them in every spelling that could leak."""

import base64
import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

# Numbers that the sandbox knows do something special; others are approved.
PREFIX = "4539"
NUMBER_DIGITS = 16
# A part of a number this long would give it away together with what is shown of it.
PART_DIGITS = 10
DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s")


class Card(NamedTuple):
    """A card of a canary: valid, and unlike any other."""

    number: str
    cvv: str


def fresh_card(rng: random.Random) -> Card:
    """Draw a number with a valid check digit, and a CVV."""
    drawn = NUMBER_DIGITS - len(PREFIX) - 1
    body = PREFIX + "".join(rng.choices("0123456789", k=drawn))
    digits = [int(digit) for digit in body]
    doubled = [each * 2 - 9 * (each > 4) for each in digits[-1::-2]]  # Luhn's rule
    check = -(sum(doubled) + sum(digits[-2::-2])) % 10
    return Card(f"{body}{check}", "".join(rng.choices("0123456789", k=3)))


def spellings(number: str) -> Iterator[tuple[str, bytes]]:
    """Give each spelling that must be nowhere, with its name. Text is searched in lower case."""
    groups = [number[at : at + 4] for at in range(0, len(number), 4)]
    forms = {"digits": number, "reversed": number[::-1]}
    forms |= {f"with {mark!r}": mark.join(groups) for mark in (" ", "-", ".", "_")}
    for name, form in forms.items():
        plain = form.encode()
        yield name, plain
        yield f"{name} in utf-16", form.encode("utf-16-le")
        yield f"{name} in hex", plain.hex().encode()
        for encoded in _base64(plain):
            yield f"{name} in base64", encoded.lower()
        for digest in DIGESTS:
            hashed = hashlib.new(digest, plain, usedforsecurity=False).digest()
            yield f"{digest} of {name}", hashed
            yield f"{digest} of {name} in hex", hashed.hex().encode()
            yield f"{digest} of {name} in base64", base64.b64encode(hashed).rstrip(b"=").lower()
    yield "packed in nibbles", bytes.fromhex(number)
    yield "most of it, from the left", number[:PART_DIGITS].encode()
    yield "most of it, from the right", number[-PART_DIGITS:].encode()


def _base64(plain: bytes) -> Iterator[bytes]:
    """Give what a text becomes at each of the three places where base64 may meet it."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + plain)
        # The characters at both ends also hold bits of their neighbours.
        first = -(-shift * 8 // 6)
        yield encoded[first : (shift + len(plain)) * 8 // 6]


def leaks(cards: list[Card], places: Mapping[str, bytes]) -> list[str]:
    """Name every place where a card shows, and how; never the number itself.

    Every position of every place is looked at once: its next bytes are those that some spelling
    begins with, or they are not.
    """
    begins: dict[bytes, list[tuple[str, bytes]]] = {}
    for index, card in enumerate(cards):
        for name, needle in spellings(card.number):
            named = (f"card {index}: {name}", needle)
            begins.setdefault(needle[:_WINDOW], []).append(named)
    found: list[str] = []
    for place, content in places.items():
        for text in {content, content.lower()}:
            found += [f"{name}: in {place}" for name in _search(begins, text)]
        if _CVV.search(content):
            found.append(f"a cvv: in {place}")
    return found


# As short as the shortest spelling, a number packed in nibbles.
_WINDOW = 8
# Three digits alone are everywhere; beside this name nothing may stand that could be a CVV.
_CVV = re.compile(rb"(?:cvv|cvc|security_?code)\W{0,8}[0-9]{3}", re.IGNORECASE)


def _search(begins: dict[bytes, list[tuple[str, bytes]]], text: bytes) -> Iterator[str]:
    for at in range(len(text) - _WINDOW + 1):
        for name, needle in begins.get(text[at : at + _WINDOW], ()):
            if text.startswith(needle, at):
                yield name


def files_of(folder: Path) -> dict[str, bytes]:
    """Read every byte of every file below a folder."""
    return {str(each): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
