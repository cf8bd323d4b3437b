"""Webhooks: signed, sent to the gateway that registered last, again and again until it says 2xx.

A notice keeps its id and its bytes through all attempts and through a restart of the sandbox.
Order is not promised, as no provider promises it.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Mapping

from paygate_engine.clock import Clock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.carriers import Carrier, HttpCarrier
from paygate_http.sandbox.faults import Faults, Strike
from paygate_http.sandbox.listeners import Listeners, Sent
from paygate_http.sandbox.records import Notice
from paygate_http.sandbox.schedule import Schedule
from paygate_http.sandbox.tongues import News, Tongue
from paygate_http.sandbox.wire import ProviderId, time_text

# 0.5 s, doubled up to a minute, 18 times: eleven minutes in all, which outlast a restart.
ATTEMPTS_MAX = 18
RETRY_FIRST_US = 500_000
RETRY_MAX_US = 60_000_000

# A slower gateway has this many to think about at once, and no more.
SENDING_MAX = 16

# `webhook_before_reply` holds the caller's answer at most this long: half of its deadline.
URGENT_S = 1.0

# Beyond this the gateway is not coming back; look-ups tell what the lost notices told.
NOTICES_MAX = 300_000

_log = logging.getLogger(__name__)


class Notices:
    """Makes notices and delivers them. With no gateway registered and no listener none is made.

    `tongues`: how each account words and signs what it has to say. `listeners` see each of them
    as it is sent for the first time; `carrier` takes them to the gateway, by default over HTTP.
    """

    def __init__(
        self,
        *,
        books: Books,
        faults: Faults,
        schedule: Schedule,
        clock: Clock,
        rng: random.Random,
        tongues: Mapping[ProviderId, Tongue],
        listeners: Listeners | None = None,
        carrier: Carrier | None = None,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> None:
        self._books = books
        self._faults = faults
        self._schedule = schedule
        self._clock = clock
        self._rng = rng
        self._tongues = tongues
        self.listeners = listeners or Listeners()
        self._carrier = carrier or HttpCarrier()
        self._attempts_max = attempts_max
        self._ready: deque[Notice] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._held: dict[str, Notice] = {}
        self._behind: dict[str, list[Notice]] = {}
        self._urgent: dict[tuple[str, str], Notice] = {}

    def start(self) -> None:
        """Take up what an earlier process did not deliver."""
        self._carrier.start()
        for notice in self._books.notices.values():
            self._queue(notice)

    async def stop(self) -> None:
        """Break off what is being sent: it stays in the books."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._carrier.stop()

    def clear(self) -> None:
        """Forget everything that waits (the books were cleared)."""
        for waiting in (self._ready, self._held, self._behind, self._urgent):
            waiting.clear()

    def emit(
        self,
        event_type: str,
        *,
        provider: ProviderId,
        cause: str,
        key: str,
        transaction_id: str,
        data: dict[str, object],
    ) -> None:
        """Tell the gateway. `cause` and `key` are the operation's, for faults."""
        tongue = self._tongues[provider]
        now_us = self._clock.now_us()
        news = News(event_type=event_type, transaction_id=transaction_id, data=data)
        # What a provider lists of its events does not depend on who heard of them.
        worded = tongue.record(news, now_us=now_us)
        if self._books.settings.gateway_url is None and not self.listeners:
            return
        strike = self._faults.on_webhook(provider, cause)
        if strike is not None and strike.fault == "webhook_drop":
            return
        if len(self._books.notices) >= NOTICES_MAX:
            _log.warning("too many webhooks wait: dropped one of %s", event_type)
            return
        worded = worded or tongue.word(news, now_us=now_us)
        notice = Notice(
            id=worded.id,
            provider=provider,
            body=worded.body,
            due_at_us=now_us,
            event_type=event_type,
        )
        self._dispatch(notice, strike, key=key)
        self._books.keep(notice)

    async def send_urgent(self, provider: str, key: str) -> None:
        """Send what `webhook_before_reply` wants the gateway to hear before the answer."""
        notice = self._urgent.pop((provider, key), None)
        if notice is None:
            return
        try:
            async with asyncio.timeout(URGENT_S):
                await self._deliver(notice)
        except TimeoutError:
            self._again(notice)

    def _dispatch(self, notice: Notice, strike: Strike | None, *, key: str) -> None:
        fault = strike.fault if strike is not None else None
        delay_us = strike.delay_ms * 1_000 if strike is not None else 0
        if fault == "webhook_reorder":
            self._held[notice.id] = notice
            self._schedule.at(notice.due_at_us + delay_us, lambda: self._release(notice))
            return
        # Whoever was held goes behind the next one, whatever that one is.
        if self._held:
            self._behind[notice.id] = list(self._held.values())
            self._held.clear()
        if fault == "webhook_duplicate":
            notice.copies = 2
        if fault == "webhook_delay":
            notice.due_at_us += delay_us
        if fault == "webhook_before_reply":
            self._urgent[notice.provider, key] = notice
            # No call may be waiting for it (a pending payment ends by itself): it goes anyway.
            due_us = notice.due_at_us + int(URGENT_S * 1_000_000)
            self._schedule.at(due_us, lambda: self._unclaimed(notice, key))
            return
        self._queue(notice)

    def _queue(self, notice: Notice) -> None:
        self._schedule.at(notice.due_at_us, lambda: self._push(notice))

    def _release(self, notice: Notice) -> None:
        if self._held.pop(notice.id, None) is not None:
            self._push(notice)

    def _unclaimed(self, notice: Notice, key: str) -> None:
        if self._urgent.get((notice.provider, key)) is notice:
            del self._urgent[notice.provider, key]
            self._push(notice)

    def _push(self, notice: Notice) -> None:
        if notice.id in self._books.notices:
            self._ready.append(notice)
            self._pump()

    def _pump(self) -> None:
        while self._ready and len(self._sending) < SENDING_MAX:
            task = asyncio.ensure_future(self._deliver(self._ready.popleft()))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            if (error := task.exception()) is not None:
                _log.error("a webhook could not be sent", exc_info=error)
            self._pump()

    async def _deliver(self, notice: Notice) -> None:
        await self._books.flush()
        delivered = True
        for _ in range(notice.copies):
            delivered = await self._post(notice) and delivered
        for behind in self._behind.pop(notice.id, ()):
            self._push(behind)
        if delivered:
            self._books.drop_notice(notice)
        else:
            self._again(notice)

    def _again(self, notice: Notice) -> None:
        notice.attempts += 1
        if notice.attempts >= self._attempts_max:
            _log.warning("gave up on webhook %s after %d attempts", notice.id, notice.attempts)
            self._books.drop_notice(notice)
            return
        doublings = min(notice.attempts, ATTEMPTS_MAX) - 1
        wait_us = min(RETRY_FIRST_US * 2**doublings, RETRY_MAX_US)
        # A tenth of jitter keeps a restarted gateway from getting all of them at one moment.
        notice.due_at_us = self._clock.now_us() + wait_us + self._rng.randrange(wait_us // 10)
        self._queue(notice)

    async def _post(self, notice: Notice) -> bool:
        gateway_url = self._books.settings.gateway_url
        # Signed anew for each attempt: the gateway refuses what was signed long ago.
        headers = self._tongues[notice.provider].sign(notice, now_us=self._clock.now_us())
        if notice.attempts == 0:
            self._show(notice, headers)
        if gateway_url is None:
            # Made for those who listen, and they have it.
            return True
        return await self._carrier.post(gateway_url, notice.provider, notice.body, headers)

    def _show(self, notice: Notice, headers: dict[str, str]) -> None:
        self.listeners.tell(
            Sent(
                id=notice.id,
                provider=notice.provider,
                event_type=notice.event_type,
                at=time_text(self._clock.now_us()),
                headers=headers,
                body=notice.body.decode(),
            )
        )
