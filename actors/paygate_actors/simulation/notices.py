"""Webhooks of the simulated providers: signed, sent, lost, repeated, late, early, out of order."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from standardwebhooks import Webhook

from paygate_actors.simulation.books import Charge, Operation
from paygate_actors.simulation.doors import Heard, Notice, Received, Refused
from paygate_actors.simulation.faults import Dice
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.tracing import Trace
from paygate_engine.simulation import EPOCH_US, Killed

SECRET: Final = "whsec_" + base64.b64encode(b"simulated webhooks are signed").decode()

# A provider repeats what was not acknowledged for three days; then somebody else must notice.
REPEATS_S: Final = (1.0, 5.0, 60.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0, 72_000.0)
_DELAY_S: Final = (0.05, 1.5)
_LATE_S: Final = (2.0, 1_200.0)
_EPOCH: Final = datetime.fromtimestamp(EPOCH_US // 1_000_000, UTC)

# Raises `Killed` where nobody answers.
Post = Callable[[Notice], Awaitable[Heard]]


class Notices:
    """One provider's webhooks. `spawn` runs a coroutine outside of all processes.

    `sure`: each is told until it is heard, and names our key, because nobody can ask this provider
    about anything.
    """

    def __init__(
        self,
        provider: str,
        *,
        dice: Dice,
        trace: Trace,
        link: Link,
        post: Post,
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
        sure: bool = False,
    ) -> None:
        self._sure = sure
        self.acknowledged: set[str] = set()
        self.under_way = 0
        self.made = 0
        self._provider = provider
        self._dice = dice
        self._trace = trace
        self._link = link
        self._post = post
        self._spawn = spawn
        self._webhook = Webhook(SECRET)

    def tell(
        self,
        event_type: str,
        operation: Operation | None,
        charge: Charge,
        details: dict[str, object],
        *,
        sure: bool = False,
        about: str | None = None,
    ) -> None:
        """Say what happened to what has this id; without an operation nobody asked for it.

        What nobody will ask about (`sure`) is told until it is heard: were that lost, only a
        settlement file could tell.
        """
        dice = self._dice
        self.made += 1
        event_id = f"evt_{self._provider}_{self.made}"
        if not (sure or self._sure) and dice.strikes("webhook_dropped"):
            self._trace.note(f"{self._provider} loses its webhook {event_type}", about=charge.key)
            return
        data: dict[str, object] = {
            "amountMinor": charge.amount_minor if operation is None else operation.amount_minor,
            "currency": charge.currency,
            **details,
        }
        if operation is None or operation.verb == "refund":
            data["parentTransactionID"] = charge.id
        if operation is not None:
            data["reference"] = operation.key
        if operation is not None and operation.as_asked and not self._sure:
            # Of another amount than was asked for, a bare event would be a lie, and no fault.
            data = {} if dice.strikes("webhook_bare") else data
        body = {
            "providerID": self._provider,
            "eventType": event_type,
            "transactionID": about or self._subject(operation, charge, event_id),
            "data": data,
            "timestamp": moment(_now_s()).isoformat(),
        }
        content = msgspec.json.encode(body)
        delay_s = dice.between(*(_LATE_S if dice.strikes("webhook_late") else _DELAY_S))
        if dice.strikes("webhook_early"):
            delay_s = 0.0
        copies = 2 if dice.strikes("webhook_doubled") else 1
        for copy in range(copies):
            wait_s = delay_s + copy * dice.between(0.0, 60.0)
            self._spawn(self._deliver(event_id, event_type, content, wait_s, charge.key))

    async def _deliver(
        self, event_id: str, event_type: str, body: bytes, delay_s: float, about: str
    ) -> None:
        self.under_way += 1
        try:
            await asyncio.sleep(delay_s)
            for wait_s in REPEATS_S:
                await self._link.passable.wait()
                if await self._acknowledged(event_id, event_type, body, about):
                    return
                await asyncio.sleep(wait_s)
        finally:
            self.under_way -= 1

    async def _acknowledged(self, event_id: str, event_type: str, body: bytes, about: str) -> bool:
        notice = signed(self._provider, event_id, body, now=moment(_now_s()), webhook=self._webhook)
        try:
            heard = await self._post(notice)
        except Killed:
            return False
        said = heard.code if isinstance(heard, Refused) else "acknowledged"
        self._trace.note(f"webhook {event_type} of {self._provider}: {said}", about=about)
        if isinstance(heard, Received):
            self.acknowledged.add(f"{self._provider}/{event_id}")
            return True
        return False

    def _subject(self, operation: Operation | None, charge: Charge, event_id: str) -> str:
        if operation is None:
            return f"re_{event_id}"
        return operation.txn_id or charge.id


def signed(provider: str, event_id: str, body: bytes, *, now: datetime, webhook: Webhook) -> Notice:
    """A webhook as it goes out."""
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign(event_id, now, body.decode()),
    }
    return Notice(provider=provider, headers=headers, body=body)


def moment(seconds: float) -> datetime:
    """The true time, so many virtual seconds after the beginning."""
    return _EPOCH + timedelta(microseconds=round(seconds * 1_000_000))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
