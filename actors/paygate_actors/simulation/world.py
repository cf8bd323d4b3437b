"""One simulated world, from its seed to its last reckoning.

For a while clients pay and things go wrong; then everything works, and the world is given time to
come to rest. Promises are checked at every commit and effect (`ledger`), and in the end as a
whole (`reckoning`).
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextvars import copy_context
from typing import Any, Final

from paygate_actors.merchant_events import encode_event
from paygate_actors.projection import key_document
from paygate_actors.simulation import reckoning
from paygate_actors.simulation.accounts import Account, Ground, News, Players
from paygate_actors.simulation.authors import check_authors
from paygate_actors.simulation.building import durable_of, keepers_of
from paygate_actors.simulation.clients import Client
from paygate_actors.simulation.doors import OPERATOR, Doors, FrontDoors, Heard, Wish
from paygate_actors.simulation.faults import Dice, Options
from paygate_actors.simulation.ledger import Ledger
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.notices import Notices
from paygate_actors.simulation.people import People
from paygate_actors.simulation.provider import SimulatedProvider
from paygate_actors.simulation.receivers import Receivers, check_told
from paygate_actors.simulation.result import Result
from paygate_actors.simulation.second_look import asked
from paygate_actors.simulation.server import PROVIDERS, Surroundings, vault_of_worlds
from paygate_actors.simulation.tracing import Trace, Violation, where
from paygate_actors.simulation.wishes import Market
from paygate_engine.simulation import SimulatedClock, Stalled, VirtualLoop, running
from paygate_engine.stores.base import Unit

# How often it is looked whether the world has come to rest.
LOOK_S: Final = 60.0
# After the last sign of life it stays watched for this long: nothing may move by itself.
STILL_S: Final = 900.0


class World:
    """Builds the world of `options`; `run` lives it once.

    Everybody asks the gateway through `doors`; by default through none, at its front. `players`
    play accounts beside those of the sandbox's own protocol, and go before them.
    """

    def __init__(
        self,
        options: Options,
        *,
        doors: Doors | None = None,
        players: Players | None = None,
        keep_story: bool = False,
    ) -> None:
        self.options = options
        self.loop = VirtualLoop()
        self.dice = Dice(options)
        self.trace = Trace(self.loop.time, keep=keep_story)
        self.ledger = Ledger(self.trace)
        self.clock = SimulatedClock(self.loop)
        self.violation: Violation | None = None
        self._doors = doors or FrontDoors()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._woken = asyncio.Event()
        self._outside = copy_context()
        self.durable = durable_of(
            options,
            loop=self.loop,
            dice=self.dice,
            trace=self.trace,
            outside=self._outside,
            committed=self._watched(self.ledger.committed),
            violate=self.violate,
        )
        self.ledger.standing = lambda: self.durable.standing(running())
        self.ledger.lives = self.durable.lives
        self._players = players
        played = () if players is None else players.names
        self._links: dict[str, Link] = {
            name: Link(name, self.loop)
            for provider in (*PROVIDERS, *played)
            for name in (provider, _webhooks_of(provider))
        }
        self.notices = {name: self._notices(name) for name in PROVIDERS}
        self.providers = {
            name: self._provider(name, first=place == 0) for place, name in enumerate(PROVIDERS)
        }
        self.accounts: Mapping[str, Account] = self.providers
        self.news: Mapping[str, News] = self.notices
        if players is not None:
            links = {each: (self._links[each], self._links[_webhooks_of(each)]) for each in played}
            players.furnish(self._ground(), links)
            self.accounts = {**players.accounts(), **self.providers}
            self.news = {**players.news(), **self.notices}
        self.ledger.providers = self.accounts
        self.clients = self._clients()
        self.receivers = self._receivers()
        self._keeper = keepers_of(self._surroundings(), violate=self.violate)
        self._people = People(self.ledger, ask=self._keeper.ask, dice=self.dice, trace=self.trace)

    def run(self, *, story_of: str | None = None) -> Result:
        """Live it. Never raises a `Violation`: that is in the result."""
        asyncio.set_event_loop(self.loop)
        promises = 0
        try:
            promises = self.loop.run_until_complete(self._live())
        except Violation as violation:
            self.violation = violation
        except Stalled as error:
            self.violation = Violation("everybody is answered", str(error))
        finally:
            self._close()
        return self._result(promises, story_of)

    # ------------------------------------------------------------------ the course of things

    async def _live(self) -> int:
        self.loop.set_exception_handler(self._unexpected)
        await self._furnish()
        people, keeper = self._people, self._keeper
        self.spawn(keeper.run())
        storm = [self.spawn(work) for work in (keeper.mischief(), *people.meddle())]
        self.spawn(people.review())
        clients = [self.spawn(client.run()) for client in self.clients]
        await self._until(asyncio.sleep(self.options.calm_s * 2))
        self.dice.heal()
        self.ledger.calm = True
        self.clock.offset_us = 0
        for task in storm:
            task.cancel()
        for link in self._links.values():
            link.restore()
        self.trace.note("from now on everything works")
        end_s = self.loop.time() + self.options.hours * 3_600
        await self._until(asyncio.wait(clients))
        await self._until(self._rest(end_s))
        await self._until(self._restart_in_order())
        await self._until(self._rest(end_s))
        await self._reckon()
        await self._until(self._let_hours_pass())
        return await self._reckon()

    async def _furnish(self) -> None:
        """Store the keys of everybody who will ask, as an operator has done before."""
        if self._players is not None:
            self._players.start()
        callers = dict.fromkeys((OPERATOR, *(client.caller for client in self.clients)))
        documents = (
            *map(key_document, self._doors.keys(callers)),
            *self.receivers.documents(vault_of_worlds()),
        )
        await self.durable.furnish(Unit(documents=documents))

    async def _until(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait for the work, or for the first violation."""
        worker = asyncio.ensure_future(work)
        woken = asyncio.ensure_future(self._woken.wait())
        await asyncio.wait((worker, woken), return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()
        if self.violation is not None:
            worker.cancel()
            raise self.violation
        await worker

    async def _rest(self, end_s: float) -> None:
        still_since_s = self.loop.time()
        look_s = LOOK_S
        while self.loop.time() - still_since_s < STILL_S:
            events = self.ledger.events
            await asyncio.sleep(look_s)
            moved = events != self.ledger.events
            # A day's outage is a long time to look every minute.
            look_s = LOOK_S if moved else min(look_s * 2, STILL_S)
            if moved or self._busy():
                still_since_s = self.loop.time()
            if self.loop.time() > end_s:
                return

    def _busy(self) -> bool:
        if self.ledger.outgoing:
            return True
        outside = (*self.news.values(), *self.accounts.values())
        if any(each.under_way for each in outside):
            return True
        return any(
            reckoning.open_still(payment, self.accounts) is not None
            for payment in self.ledger.payments.values()
        )

    async def _restart_in_order(self) -> None:
        """Stop and start once more: what was at rest stays at rest."""
        events, decided = self.ledger.events, self.ledger.decided
        told = sum(each.made for each in self.news.values())
        await self._keeper.restart()
        await asyncio.sleep(LOOK_S)
        self._keeper.check()
        news = sum(each.made for each in self.news.values()) - told
        # Who reviews goes on meanwhile: what an operator has decided, no restart has moved.
        same = self.ledger.decided == decided
        if self.ledger.events != events and not news and same:
            raise Violation(
                "what rests stays at rest", "a restart moved it", subject=self.ledger.newest
            )

    async def _let_hours_pass(self) -> None:
        """What rests stays as it is, but for holds: those run out at their provider."""
        rested = [
            each
            for each in self.ledger.payments.values()
            if not reckoning.may_still_move(each, self.accounts)
        ]
        await asyncio.sleep(self.options.quiet_hours * 3_600)
        self._keeper.check()
        for payment in rested:
            if self.ledger.payments[payment.id] is not payment:
                raise Violation(
                    "what rests stays at rest", "it moved hours later", subject=payment.id
                )

    async def _reckon(self) -> int:
        store, ledger = self.durable.store, self.ledger
        await reckoning.check_store(store, ledger)
        promises = [each for client in self.clients for each in client.promises]
        count = await reckoning.check_promises(store, ledger, promises)
        await reckoning.check_webhooks(store, ledger, self.news)
        await check_told(store, ledger.payments, self.receivers, encode_event)
        await self.durable.check(ledger.payments)
        for payment in ledger.payments.values():
            reckoning.check_rest(payment, self.accounts)
            reckoning.check_books(payment, self.accounts)
        check_authors(ledger.payments, self.accounts)
        return count

    # ------------------------------------------------------------------ building and ending

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something outside of all processes; what it raises ends the world."""
        task = self._outside.copy().run(self.loop.create_task, work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def violate(self, violation: Violation) -> None:
        """A promise was broken: the first one counts."""
        if self.violation is None:
            self.violation = violation
        self._woken.set()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Violation):
            self.violate(error)
        elif error is not None:
            self.violate(Violation("the world goes on", where(error)))

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Violation):
            self.violate(error)
        elif error is not None:
            self.violate(Violation("nothing fails unseen", where(error)))

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            options=self.options,
            loop=self.loop,
            outside=self._outside,
            clock=self.clock,
            durable=self.durable,
            dice=self.dice,
            trace=self.trace,
            doors=self._doors,
            links=self._links,
            providers=self.providers,
            players=self._players,
            receivers=self.receivers,
            sent=self._watched(self.ledger.sent),
        )

    def _ground(self) -> Ground:
        return Ground(
            options=self.options,
            loop=self.loop,
            clock=self.clock,
            outside=self._outside,
            dice=self.dice,
            trace=self.trace,
            effect=self._watched(self.ledger.effect),
            sent=self._watched(self.ledger.left),
            post=self._ask,
            spawn=self.spawn,
        )

    def _watched(self, check: Any) -> Any:
        """Call the check; a violation that it raises inside a process must not end there."""

        def watched(*args: Any) -> None:
            try:
                check(*args)
            except Violation as violation:
                self.violate(violation)

        return watched

    def _notices(self, name: str) -> Notices:
        return Notices(
            name,
            dice=self.dice,
            trace=self.trace,
            link=self._links[_webhooks_of(name)],
            post=self._ask,
            spawn=self.spawn,
            sure=self.options.kinds[PROVIDERS.index(name)] == "blind",
        )

    async def _ask(self, wish: Wish) -> Heard:
        return await asked(wish, ask=self._keeper.ask, payments=self.ledger.payments)

    def _clients(self) -> list[Client]:
        market = Market()
        return [
            Client(
                number,
                options=self.options,
                ask=self._ask,
                spoils=self._doors.parses,
                market=market,
                dice=self.dice,
                trace=self.trace,
            )
            for number in range(self.options.clients)
        ]

    def _receivers(self) -> Receivers:
        merchants = dict.fromkeys(client.caller.merchant for client in self.clients)
        return Receivers(
            merchants if self.options.receivers else (),
            options=self.options,
            loop=self.loop,
            trace=self.trace,
            healed=lambda: self.dice.healed,
            violate=self.violate,
        )

    def _provider(self, name: str, *, first: bool) -> SimulatedProvider:
        return SimulatedProvider(
            name,
            first=first,
            loop=self.loop,
            outside=self._outside,
            options=self.options,
            dice=self.dice,
            trace=self.trace,
            effect=self._watched(self.ledger.effect),
            tell=self.notices[name].tell,
        )

    def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        self._keeper.bury()
        if self._players is not None:
            self.loop.run_until_complete(self._players.close())
        self.loop.set_exception_handler(_nobody_listens)
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()
        asyncio.set_event_loop(None)

    def _result(self, promises: int, story_of: str | None) -> Result:
        breach = None if self.violation is None else self.violation.breach
        subject = story_of or (breach.subject if breach is not None else "")
        if subject == "first":
            subject = next(iter(self.ledger.payments), "")
        attention = [each for each in self.ledger.payments.values() if each.attention is not None]
        return Result(
            options=self.options,
            digest=self.trace.digest,
            steps=self.trace.count,
            payments=len(self.ledger.payments),
            promises=promises,
            flagged=len(attention),
            lives=len(self._keeper.lives),
            virtual_s=self.loop.time(),
            faults=dict(self.dice.counts),
            breach=breach,
            story=tuple(self.trace.story(subject)) if self.trace.lines else (),
        )


def _nobody_listens(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """The world is over; what still complains was cut off on purpose."""


def _webhooks_of(provider: str) -> str:
    return f"{provider}'s webhooks"
