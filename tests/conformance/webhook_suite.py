"""What every adapter's door must do with hostile webhooks: refuse them, quickly, and never fail.

A test module joins by a class with a fixture:

    class TestAcmeWebhooks(WebhookSuite):
        @pytest.fixture
        def signed(self) -> Signed:
            return Signed(provider=..., headers=..., body=..., now_us=...)

`headers` are those of a genuine webhook; each of the `signature_headers` is made hostile in turn.
An adapter whose signature is in the body has none of them, and is given hostile bodies alone.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from msgspec import Struct

from paygate_actors.providers.base import BodyInvalid, Provider, SignatureInvalid

# What hostile input may cost at the most, and how often it is tried: a shared machine has pauses,
# and the quickest of some runs is what the code itself takes.
SECONDS_MAX: Final = 0.05
RUNS: Final = 5


class Signed(Struct, frozen=True, kw_only=True):
    """A genuine webhook, and the names of the headers that its signature is in (lower case)."""

    provider: Provider
    headers: Mapping[str, str]
    body: bytes
    now_us: int
    signature_headers: tuple[str, ...]


HOSTILE: Final[Mapping[str, Callable[[str], str]]] = {
    "empty": lambda _: "",
    "blank": lambda _: " ",
    "no comma": lambda good: good.replace(",", ""),
    "commas only": lambda _: "," * 1_000,
    "equals only": lambda _: "=" * 1_000,
    "spaces only": lambda _: " " * 1_000,
    "no ascii": lambda good: "é" + good,
    "latin-1 bytes": lambda good: "\udce9" + good,
    "another alphabet's digits": lambda _: "t=٣٣٣٣٣٣٣٣٣٣,v1=" + "٣" * 64,
    "NUL": lambda good: good[: len(good) // 2] + "\0" + good[len(good) // 2 :],
    "a line end": lambda good: good + "\r\nx: y",
    "5,000 digits": lambda _: "1" * 5_000,
    "a time of 5,000 digits": lambda _: "t=" + "1" * 5_000 + ",v1=" + "a" * 64,
    "a negative time": lambda _: "t=-1,v1=" + "a" * 64,
    "a time that is no number": lambda _: "t=NaN,v1=" + "a" * 64,
    "1,000 entries": lambda _: "t=1," + ",".join("v1=" + "a" * 64 for _ in range(1_000)),
    "1,000 entries with spaces": lambda _: " ".join(["v1,AAAA"] * 1_000),
    "a million characters": lambda good: good * (1_000_000 // max(1, len(good))),
    "no base64": lambda _: "v1,!!!",
    "padding alone": lambda _: "v1,====",
    "half of it": lambda good: good[: len(good) // 2],
    "another case": lambda good: good.swapcase(),
    "a percent code": lambda good: good + "%00",
    "a format string": lambda _: "{0}%s%n",
}

BODIES: Final[Mapping[str, bytes]] = {
    "nothing": b"",
    "NUL": b"\0" * 100,
    "no UTF-8": b"\xff\xfe" * 100,
    "nested": b"[" * 60_000,
    "nested objects": b'{"a":' * 10_000,
    "a long number": b"1" * 60_000,
    "NaN": b'{"amount":NaN}',
    "a list": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "an empty object": b"{}",
    "lone surrogate": b'{"id":"\\ud800"}',
}


class WebhookSuite:
    """The cases; see the module."""

    def test_a_genuine_webhook_is_taken(self, signed: Signed):
        signed.provider.verify(signed.headers, signed.body, now_us=signed.now_us)

        assert signed.provider.parse(signed.headers, signed.body)

    @pytest.mark.parametrize("why", HOSTILE)
    def test_a_hostile_signature_header_is_refused_at_once(self, signed: Signed, why: str):
        for name in signed.signature_headers:
            hostile = HOSTILE[why](signed.headers[name])
            if hostile == signed.headers[name]:
                continue  # what makes another scheme's header hostile leaves this one alone
            headers = {**signed.headers, name: hostile}

            with _quickly() as run:
                run(lambda: _refused(signed, headers, signed.body))  # noqa: B023

    def test_a_missing_signature_header_is_refused(self, signed: Signed):
        for name in signed.signature_headers:
            headers = {key: text for key, text in signed.headers.items() if key != name}

            _refused(signed, headers, signed.body)

    def test_no_headers_at_all_are_refused_where_they_sign(self, signed: Signed):
        if signed.signature_headers:
            _refused(signed, {}, signed.body)

    @pytest.mark.parametrize("why", BODIES)
    def test_a_hostile_body_is_refused_by_the_signature(self, signed: Signed, why: str):
        with _quickly() as run:
            run(lambda: _refused(signed, signed.headers, BODIES[why]))

    @pytest.mark.parametrize("why", BODIES)
    def test_a_hostile_body_that_is_signed_is_refused_by_its_content(
        self, signed: Signed, why: str
    ):
        # Whoever has the secret may send anything: reading it must not fail.
        with _quickly() as run:
            run(lambda: _unreadable(signed, BODIES[why]))

    def test_a_changed_byte_is_refused_wherever_it_is(self, signed: Signed):
        for at in range(0, len(signed.body), max(1, len(signed.body) // 50)):
            changed = bytearray(signed.body)
            changed[at] ^= 1

            _refused(signed, signed.headers, bytes(changed))

    @pytest.mark.parametrize("off_s", [-86_400, 86_400])
    def test_a_genuine_webhook_of_another_day_is_refused_where_time_is_signed(
        self, signed: Signed, off_s: int
    ):
        if not self.signs_time:
            pytest.skip("this provider signs no time: what came before is known by its id")

        with pytest.raises(SignatureInvalid):
            signed.provider.verify(
                signed.headers, signed.body, now_us=signed.now_us + off_s * 1_000_000
            )

    def test_a_refusal_repeats_nothing_of_what_came(self, signed: Signed):
        for name in signed.signature_headers:
            headers = {**signed.headers, name: "canary-of-a-header"}

            with pytest.raises(SignatureInvalid) as caught:
                signed.provider.verify(headers, signed.body, now_us=signed.now_us)

            assert "canary" not in str(caught.value)

    signs_time = True
    """Whether the provider's signature covers a time."""


def _refused(signed: Signed, headers: Mapping[str, str], body: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        signed.provider.verify(headers, body, now_us=signed.now_us)


def _unreadable(signed: Signed, body: bytes) -> None:
    try:
        events = signed.provider.parse(signed.headers, body)
    except BodyInvalid:
        return
    # A provider may have nothing to say to us; it says nothing that is not there.
    assert events == (), events


class _quickly:  # noqa: N801 - it reads as a word of the test
    """Runs something some times, and asserts that the quickest run was quick enough."""

    def __enter__(self) -> Callable[[Callable[[], None]], None]:
        self._best_s = float("inf")
        return self._run

    def _run(self, work: Callable[[], None]) -> None:
        for _ in range(RUNS):
            began_s = time.perf_counter()
            work()
            self._best_s = min(self._best_s, time.perf_counter() - began_s)
            if self._best_s < SECONDS_MAX:
                return

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            assert self._best_s < SECONDS_MAX, f"it took {self._best_s * 1_000:.1f} ms"
