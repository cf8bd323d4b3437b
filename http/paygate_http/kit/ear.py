"""The ear of a stand: webhooks as the sandbox sends them, read and checked through the adapter."""

from collections.abc import Callable
from typing import Any, Final

from paygate_actors.providers.base import Provider, ProviderEvent
from paygate_engine.clock import Clock
from paygate_http.kit.desk import Desk
from paygate_http.kit.tap import Tap
from paygate_http.kit.verdicts import CaseFailed, Skipped, expect
from paygate_http.sandbox.listeners import Sent

# Webhooks go out at once, and a dispute's after a second: the rest is for a busy machine.
HEARD_S: Final = 10.0
_MOMENT_S: Final = 0.05


class Ear:
    """Listens for one case. Without a desk there is nothing to hear."""

    def __init__(self, provider: Provider, *, tap: Tap, desk: Desk | None, clock: Clock) -> None:
        self._provider = provider
        self._tap = tap
        self._desk = desk
        self._clock = clock

    async def heard(
        self, is_it: Callable[[ProviderEvent], bool], *, within_s: float = HEARD_S
    ) -> tuple[Sent, ProviderEvent]:
        """Wait for a webhook that the adapter reads so.

        Raises `CaseFailed` if it does not come, `Skipped` at an end whose webhooks nobody hears.
        """
        desk = self._desk
        if desk is None:
            raise Skipped("needs a sandbox's control desk")
        read: dict[str, tuple[ProviderEvent, ...]] = {}

        def matches(sent: Sent) -> bool:
            return any(is_it(each) for each in self._read_once(sent, read))

        sent = await desk.hear(matches, within_s=within_s)
        expect(sent is not None, f"no such webhook came in {within_s:g} s")
        assert sent is not None, "looked at above"
        return sent, next(each for each in read[sent.id] if is_it(each))

    async def has_heard(self, is_it: Callable[[ProviderEvent], bool]) -> bool:
        """Tell whether such a webhook has come by now; waits a moment for it."""
        try:
            await self.heard(is_it, within_s=_MOMENT_S)
        except CaseFailed:
            return False
        return True

    def headers_of(self, sent: Sent) -> dict[str, str]:
        """Give a webhook's headers as the door hands them on: names in small letters.

        Where one leads to the provider's end, it leads to the tap on the line to it.
        """
        return {
            name.lower(): value.replace(self._tap.upstream, self._tap.url)
            for name, value in sent.headers.items()
        }

    async def verify(self, sent: Sent, *, now_us: int | None = None) -> None:
        """Check a webhook as the door does. Raises `SignatureInvalid`."""
        headers = self.headers_of(sent)
        if self._provider.capabilities.fetches_keys:
            provider: Any = self._provider
            await provider.fetch_keys(headers)
        at_us = self._clock.now_us() if now_us is None else now_us
        self._provider.verify(headers, sent.body.encode(), now_us=at_us)

    def told_of(self, key: str) -> ProviderEvent | None:
        """Give the newest event about the call with this key that has come; None: none has."""
        if self._desk is None:
            return None
        for sent in reversed(self._desk.heard):
            if key not in sent.body:
                continue
            for event in self._provider.parse(self.headers_of(sent), sent.body.encode()):
                if event.reference == key:
                    return event
        return None

    def _read_once(
        self, sent: Sent, read: dict[str, tuple[ProviderEvent, ...]]
    ) -> tuple[ProviderEvent, ...]:
        if sent.id not in read:
            read[sent.id] = self._provider.parse(self.headers_of(sent), sent.body.encode())
        return read[sent.id]
