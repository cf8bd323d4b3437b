"""A bank that tells of what happens: by webhooks of several events, and by a list of them.

    bank = TellingBank()
    async with bank_rig(tmp_path, bank=bank) as rig:
        heard = await send(rig, report("payment.succeeded", txn="ch_1"))

It signs with one word in a header. What it tells of types in `passed_over` its adapter does not
know yet: they are read as events that name nothing.
"""

from collections.abc import Mapping

import msgspec
from bank_rig import Bank, BankRig

from paygate_actors.messages import Refusal
from paygate_actors.outcomes import Unknown
from paygate_actors.providers.base import (
    AnotherAccount,
    BodyInvalid,
    EventPage,
    KeysUnavailable,
    ProviderEvent,
    SignatureInvalid,
)

SIGNATURE = "bank-signature"
GOOD = "the bank's"


class TellingBank(Bank):
    """A bank with webhooks and a list of events."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_over: set[str] = set()
        self.accounts = {"ours"}
        self.listed: list[ProviderEvent] = []
        self.asked_for_events: list[tuple[int, str | None]] = []
        self.answers: list[EventPage | Unknown | Exception] = []
        self.page = 50
        self.key_troubles: list[Exception] = []
        self.fetched_keys = 0

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_us: int) -> None:
        """Check the word."""
        if headers.get(SIGNATURE) != GOOD:
            raise SignatureInvalid

    def parse(self, headers: Mapping[str, str], body: bytes) -> tuple[ProviderEvent, ...]:
        """Read all events of a body."""
        try:
            notice = msgspec.json.decode(body, type=Notice)
        except msgspec.DecodeError as error:
            raise BodyInvalid("no notice") from error
        if notice.account not in self.accounts:
            raise AnotherAccount(notice.account)
        return tuple(self._read(event) for event in notice.events)

    def _read(self, event: ProviderEvent) -> ProviderEvent:
        if event.event_type not in self.passed_over:
            return event
        return ProviderEvent(
            event_id=event.event_id, event_type=f"unknown {event.event_type}", provider_txn_id=""
        )

    async def events(self, *, since_us: int, cursor: str | None = None) -> EventPage | Unknown:
        """List events since then, the newest first."""
        self.asked_for_events.append((since_us, cursor))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        found = [each for each in reversed(self.listed) if each.at_us >= since_us]
        start = 0 if cursor is None else int(cursor)
        page = tuple(found[start : start + self.page])
        end = start + self.page
        return EventPage(events=page, next_cursor=str(end) if end < len(found) else None)

    async def fetch_keys(self, headers: Mapping[str, str]) -> None:
        """Fetch what `verify` needs; goes wrong as it was told to."""
        self.fetched_keys += 1
        if self.key_troubles:
            raise self.key_troubles.pop(0)


class Notice(msgspec.Struct, kw_only=True):
    """What the bank sends: the account that it is about, and its events."""

    account: str = "ours"
    events: tuple[ProviderEvent, ...] = ()


def unavailable() -> KeysUnavailable:
    """A fetch that failed."""
    return KeysUnavailable("the bank's keys are not there")


def body_of(*events: ProviderEvent, account: str = "ours") -> bytes:
    """The body of one notice."""
    return msgspec.json.encode(Notice(account=account, events=events))


async def send(
    rig: BankRig,
    *events: ProviderEvent,
    account: str = "ours",
    signature: str = GOOD,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Refusal | None:
    """Bring a notice to the gateway."""
    given = {SIGNATURE: signature, **(headers or {})}
    content = body_of(*events, account=account) if body is None else body
    return await rig.gateway.front.webhook("bank", given, content)
