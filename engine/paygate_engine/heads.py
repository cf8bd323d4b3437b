"""Signed heads of the audit chain: the proof that a chain was not cut short or computed anew.

A head is published by appending a signed line to a file that the writer of the database does
not own: another disk, a log collector, an auditor's machine. Only who holds the key can make a
line, so whoever rewrites the database cannot rewrite the heads with it.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from paygate_engine.chain import Head
from paygate_engine.stores.folder import sync_folder

# HMAC-SHA256 gets no stronger by longer keys and weaker by shorter ones.
KEY_BYTES_MIN = 32
# What is signed begins with this, so that a signature made under the same key for another
# purpose is never taken for a head.
_PURPOSE = b"audit head 1\n"

_TAIL_BYTES = 4_096


class BadHead(ValueError):
    """A published head is no head, or its signature is not ours."""


class SignedHead(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A head as published: row number, its hash, when (UTC, microseconds), and the signature."""

    n: int
    hash: bytes
    at_us: int
    signature: bytes


def sign_head(key: bytes, head: Head, at_us: int) -> SignedHead:
    """Sign a head; `ValueError` for a key that is too short."""
    return SignedHead(
        n=head.n, hash=head.hash, at_us=at_us, signature=_sign(key, head.n, head.hash, at_us)
    )


def check_head(key: bytes, signed: SignedHead) -> Head:
    """The head, if the signature is ours; raises `BadHead`."""
    if not hmac.compare_digest(_sign(key, signed.n, signed.hash, signed.at_us), signed.signature):
        raise BadHead(f"the signature of head {signed.n} is not ours")
    return Head(n=signed.n, hash=signed.hash)


def append_head(path: Path, signed: SignedHead) -> None:
    """Append a line to the file and force it to the disk. Blocks: not for the loop's thread."""
    line = msgspec.json.encode(signed) + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if not os.fstat(file).st_size:
            sync_folder(path.parent)
        if os.write(file, line) != len(line):
            raise OSError(f"{path}: a head was written in part")
        os.fsync(file)
    finally:
        os.close(file)


def mend_heads(path: Path) -> None:
    """Cut off a last line that a crash tore, so that the next head does not follow it. Blocks."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        # A head is some 200 bytes long: what is torn lies within the last block.
        size = os.fstat(file).st_size
        start = max(0, size - _TAIL_BYTES)
        tail = os.pread(file, _TAIL_BYTES, start)
        last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
        whole = size - len(last) if _is_torn(last) else size
        if whole < size:
            os.ftruncate(file, whole)
            os.fsync(file)
    finally:
        os.close(file)


def read_heads(key: bytes, lines: Iterable[bytes]) -> dict[int, bytes]:
    """Published hashes by row number, as `chain.verify` takes them; raises `BadHead`.

    A last line that a crash tore while it was written is left out.
    """
    heads: dict[int, bytes] = {}
    torn = 0
    for number, line in enumerate(lines, 1):
        if torn:
            raise BadHead(f"line {torn} is no head, and others follow it")
        if _is_torn(line):
            torn = number
            continue
        try:
            head = check_head(key, msgspec.json.decode(line, type=SignedHead))
        except msgspec.DecodeError as error:
            raise BadHead(f"line {number} is no head: {error}") from error
        if heads.setdefault(head.n, head.hash) != head.hash:
            raise BadHead(f"line {number}: row {head.n} was published with two hashes")
    return heads


def _is_torn(line: bytes) -> bool:
    """Whether the power failed while the line was written: a part of it never reached the disk.

    The end may be missing, or what comes before it: that then reads as zeros.
    """
    return not line.endswith(b"\n") or b"\0" in line


def _sign(key: bytes, n: int, digest: bytes, at_us: int) -> bytes:
    if len(key) < KEY_BYTES_MIN:
        raise ValueError(f"the key for heads needs {KEY_BYTES_MIN} bytes")
    text = _PURPOSE + struct.pack(">qq", n, at_us) + digest
    return hmac.new(key, text, hashlib.sha256).digest()
