"""What is asked of webhooks that were kept, and what comes of it. Times are UTC microseconds."""

from msgspec import Struct

from paygate_actors.messages import Caller


class ReplayWebhooks(Struct, frozen=True, kw_only=True):
    """Read again what came from `from_us` on and before `to_us`, one page of it.

    `event_id` narrows it down to one event. `dry_run`: say what would change, and change nothing.
    `cursor` is the last page's.
    """

    caller: Caller
    provider: str | None = None
    event_id: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    dry_run: bool = False
    cursor: str | None = None


class ReadingChange(Struct, frozen=True, kw_only=True):
    """An event that is read otherwise now. `was` None: it was not read as an event at all.

    `payment_id`: whose it is, as far as is known. `applied` False: nothing was changed, because
    nothing should be, or because the same reading was brought before.
    """

    provider: str
    event_id: str
    received_us: int
    was: str | None
    now: str
    payment_id: str | None
    applied: bool


class ReplayPage(Struct, frozen=True, kw_only=True):
    """What a page held. `webhooks` fit what was asked for; `failed` of them could not be read.

    Those fail, too, whose provider is gone. `next_cursor` None: that was all.
    """

    webhooks: int
    failed: int
    changes: tuple[ReadingChange, ...]
    next_cursor: str | None
