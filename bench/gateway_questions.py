"""What a bench asks the gateway that it measures, inside of its process.

rest WEBHOOKS      wait until nothing is under way and so many webhooks came; counts since start
live ID            whether the payment is in memory
collect            what lies in cycles now; from then on nothing is collected by itself
lean               hold SQLite's page cache small, so that what grows is not it
statements         SQL statements and commits of the writer since the last time; first: none
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable
from sqlite3 import Connection
from typing import Literal, assert_never, cast, get_args

from measured_server import Answer

from paygate_actors.gateway import Gateway
from paygate_engine.stores.sqlite import SqliteStore

# Everything that a load began is over within seconds, or never will be.
RESTS_S = 60.0
LOOK_S = 0.01
# A group that is being written shows nowhere: so many looks in a row see the same when all is over.
STILL_LOOKS = 3
# Full after some hundred payments.
CACHE_KIB = 1_024

Question = Literal["rest", "live", "collect", "lean", "statements"]


class Questions:
    """Answers for one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._written: Counter[str] = Counter()
        self._traced = False

    async def answer(self, words: str) -> Answer:
        """Answer one line."""
        name, *given = words.split()
        assert name in get_args(Question), words
        question = cast("Question", name)
        match question:
            case "rest":
                return await self._rest(int(given[0]))
            case "live":
                return {"live": int(self._gateway.payments.active(given[0]) is not None)}
            case "collect":
                gc.disable()
                return {"found": gc.collect()}
            case "lean":
                await self._lean()
                return {}
            case "statements":
                return await self._statements()
            case _:
                assert_never(question)

    async def _rest(self, webhooks: int) -> Answer:
        journal = self._gateway.journal
        seen: list[int] = []
        async with asyncio.timeout(RESTS_S):
            while len(seen) < STILL_LOOKS:
                await journal.drain()
                still = self._is_still(webhooks)
                seen = [*seen, journal.stats.units] if still else []
                if len(set(seen)) > 1:
                    seen = seen[-1:]
                await asyncio.sleep(LOOK_S)
        counts = self._gateway.house.counts
        stats = journal.stats
        return {
            "settled": counts["moved", "captured"],
            "refunds": counts["transaction", "refund", "provider"],
            "units": stats.units,
            "groups": stats.groups,
            "rows": stats.rows,
        }

    def _is_still(self, webhooks: int) -> bool:
        """No call is out and no event under way. A payment that stays pending is at rest too."""
        gateway = self._gateway
        gauges = gateway.front.gauges()
        return (
            gateway.inbox.received >= webhooks
            and gateway.inbox.busy == 0
            and gateway.journal.backlog == 0
            and not any(
                value
                for name, value in gauges.items()
                if name.startswith("paygate_provider_calls_")
                and name.partition("{")[0].endswith(("running", "waiting"))
            )
        )

    async def _statements(self) -> Answer:
        if not self._traced:
            self._traced = True
            await self._trace()
        found, self._written = self._written, Counter()
        return {"statements": found.total(), "commits": found["COMMIT"]}

    async def _lean(self) -> None:
        def hold(connection: Connection) -> None:
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")

        await self._at_writer(hold)

    async def _trace(self) -> None:
        """Hear of every statement that the writer runs, on its thread."""

        def note(statement: str) -> None:
            self._written[statement.partition(" ")[0].upper()] += 1

        def listen(connection: Connection) -> None:
            connection.set_trace_callback(note)

        await self._at_writer(listen)

    async def _at_writer(self, work: Callable[[Connection], None]) -> None:
        """Do something at the connection that writes; only the store knows it."""
        store = self._gateway.store
        assert isinstance(store, SqliteStore)
        writer = store._writer  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # see above
        assert writer is not None
        await writer.run(work)
