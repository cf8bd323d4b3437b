"""Reads webhooks again, out of the bytes that were kept, with the adapters of today.

An adapter that learns to read what it passed over, or that read something wrongly, is no use to
the events that it has seen: their provider was told 200. Here they are read once more; what is
read otherwise now is brought to its payment like any event, under an id made of the event's own
and of the new reading, so that each reading is brought once however often somebody asks.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from paygate_actors.projection import RAW
from paygate_actors.providers.base import BodyInvalid, Provider, ProviderEvent
from paygate_actors.raw_webhooks import RawWebhook, Reading, begin_id, read_raw, reading_of
from paygate_actors.replay_messages import ReadingChange, ReplayPage, ReplayWebhooks
from paygate_engine.stores.base import Store

# Webhooks that one request reads: at the largest six megabytes, and some tens of milliseconds.
PAGE: Final = 100


PaymentOf = Callable[[str, ProviderEvent], Awaitable[str | None]]


class Correct(Protocol):
    """Brings an event to its payment, as `Inbox.correct` does; False: that was done before."""

    async def __call__(self, provider: str, event: ProviderEvent, *, suffix: str, by: str) -> bool:
        """Bring it; `suffix` makes another id of the event's own, `by` is who asked."""
        ...


class Replayer:
    """Reads webhooks again. Raises what the journal raises.

    `adapter_of(provider)` is None for one that is gone. `payment_of(provider, event)` is whom it
    is about. Without `correct` nothing can be brought anywhere: every page is a dry run.
    """

    def __init__(
        self,
        *,
        store: Store,
        adapter_of: Callable[[str], Provider | None],
        payment_of: PaymentOf,
        correct: Correct | None = None,
    ) -> None:
        self._store = store
        self._adapter_of = adapter_of
        self._payment_of = payment_of
        self._correct = correct

    async def page(self, command: ReplayWebhooks) -> ReplayPage:
        """Read one page."""
        after = command.cursor or begin_id(command.from_us or 0)
        items = await self._store.waiting(RAW, after_id=after, limit=PAGE)
        last = len(items) < PAGE
        webhooks = failed = 0
        changes: list[ReadingChange] = []
        for item in items:
            if command.to_us is not None and item.id >= begin_id(command.to_us):
                last = True
                break
            raw = read_raw(item) if item.sound else None
            if raw is not None and command.provider not in (None, raw.provider):
                continue
            found = None if raw is None else self._read(raw)
            if raw is None or found is None:
                webhooks += 1
                failed += 1
                continue
            asked = [each for each in found if command.event_id in (None, each.event_id)]
            # One that holds no event at all is read again too, where no event is asked for.
            webhooks += bool(asked) or command.event_id is None
            for event in asked:
                changes += await self._compared(raw, event, command)
        return ReplayPage(
            webhooks=webhooks,
            failed=failed,
            changes=tuple(changes),
            next_cursor=None if last else items[-1].id,
        )

    def _read(self, raw: RawWebhook) -> tuple[ProviderEvent, ...] | None:
        adapter = self._adapter_of(raw.provider)
        if adapter is None:
            return None
        try:
            return adapter.parse(raw.headers, raw.body)
        except BodyInvalid:
            return None
        except Exception:  # noqa: BLE001 - an adapter may be a stranger's: it is counted as failed
            return None

    async def _compared(
        self, raw: RawWebhook, event: ProviderEvent, command: ReplayWebhooks
    ) -> Sequence[ReadingChange]:
        now = reading_of(event)
        was = _first_reading(raw, event.event_id)
        if was == now:
            return ()
        applied = False
        if self._correct is not None and not command.dry_run:
            # Where it was no event, its own id is free, unless a fetch has brought it since.
            suffix = "" if was is None else f"#{now.digest}"
            applied = await self._correct(
                raw.provider, event, suffix=suffix, by=f"key:{command.caller.key_id}"
            )
        return (
            ReadingChange(
                provider=raw.provider,
                event_id=event.event_id,
                received_us=raw.verified_us,
                was=None if was is None else was.event_type,
                now=event.event_type,
                payment_id=await self._payment_of(raw.provider, event),
                applied=applied,
            ),
        )


def _first_reading(raw: RawWebhook, event_id: str) -> Reading | None:
    return next((each for each in raw.read if each.event_id == event_id), None)
