"""What nodes say to each other through PostgreSQL: LISTEN and NOTIFY, as a hint and no more.

Sent outside of every group, many words at a time: a commit that notifies takes a lock which all
such commits wait for. Behind a pooler, or while the database is away, nothing is heard.
"""

import asyncio
import logging
from collections.abc import Sequence

from paygate_engine.errors import EngineError
from paygate_engine.stores.postgres_link import Answered, Link, Links, Lost, Unreachable
from paygate_engine.stores.postgres_pool import Pool

CHANNEL = "paygate"
# Words of this time go together: what waits for them would otherwise be found seconds later.
SAY_S = 0.02
# A notification holds less than 8,000 bytes.
PAYLOAD_BYTES_MAX = 7_900
# Words that wait to be sent or heard; beyond this some are never heard, as is allowed.
WORDS_MAX = 1_000
# Between two tries to hear again; nothing depends on being quick.
AGAIN_S = 1.0
# Whoever waits for news looks for himself after this time at the latest.
HEAR_S = 5.0

_log = logging.getLogger(__name__)


class Words:
    """Says and hears words. `own` is put before what is said, so that nobody hears himself."""

    def __init__(self, links: Links, pool: Pool) -> None:
        self._links = links
        self._pool = pool
        self._own = ""
        self._link: Link | None = None
        self._deaf = False
        self._closed = False
        self._unsaid: dict[str, None] = {}  # in order, each once
        self._unheard: dict[str, None] = {}
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._saying: set[asyncio.Task[None]] = set()

    def name(self, epoch: int) -> None:
        """What is said from now on is said by this epoch."""
        self._own = str(epoch)

    async def hear(self) -> Sequence[str]:
        """News, when there is some, or nothing after `HEAR_S`."""
        try:
            async with asyncio.timeout(HEAR_S):
                await self._listening()
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()
        heard, self._unheard = self._unheard, {}
        return tuple(heard)

    def say(self, words: Sequence[str]) -> None:
        """Have words sent soon. Never waits and never fails."""
        for word in words:
            if len(self._unsaid) < WORDS_MAX:
                self._unsaid[word] = None
        if self._unsaid and self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(SAY_S, self._send)

    def open(self) -> None:
        """Say and hear."""
        self._closed = False

    def close(self) -> None:
        """Say and hear nothing more."""
        self._closed = True
        self._news.set()  # whoever waits hears that there is nothing more
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._saying:
            task.cancel()
        if self._link is not None:
            self._link.end()
            self._link = None

    async def _listening(self) -> None:
        """Return when news can come, however long that takes."""
        while not self._closed and (self._link is None or not self._link.usable):
            try:
                self._link = await self._links.connect()
                self._link.on_end(self._news.set)
                await self._link.listen(CHANNEL, self._on_payload)
            except (Unreachable, Lost, Answered) as error:
                if self._link is not None:
                    # One that was refused is still connected, and would be taken for one that
                    # listens.
                    self._link.end()
                if not self._deaf:
                    _log.info("nothing is heard from other nodes: %s", error)
                self._deaf = True
                await asyncio.sleep(AGAIN_S)
            else:
                if self._deaf:
                    _log.info("other nodes are heard again")
                self._deaf = False

    def _on_payload(self, payload: str) -> None:
        by, *words = payload.split("\n")
        if by == self._own:
            return
        for word in words:
            if len(self._unheard) < WORDS_MAX:
                self._unheard[word] = None
        self._news.set()

    def _send(self) -> None:
        self._timer = None
        words, self._unsaid = list(self._unsaid), {}
        task = asyncio.get_running_loop().create_task(self._notify(words))
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)

    async def _notify(self, words: list[str]) -> None:
        try:
            for payload in payloads(self._own, words):
                await self._pool.run("SELECT pg_notify($1, $2)", CHANNEL, payload, tries_max=1)
        except EngineError as error:
            _log.info("other nodes were not told: %s", error)


def payloads(own: str, words: Sequence[str]) -> list[str]:
    """Words in as few notifications as they fit into; one that fits into none is left out."""
    found: list[str] = []
    payload = own
    for word in words:
        if len(f"{own}\n{word}".encode()) > PAYLOAD_BYTES_MAX:
            continue
        if len(f"{payload}\n{word}".encode()) > PAYLOAD_BYTES_MAX:
            found.append(payload)
            payload = own
        payload = f"{payload}\n{word}"
    if payload != own:
        found.append(payload)
    return found
