"""One simulated world, from its seed to its last reckoning.

For a while clients pay and things go wrong; then everything works, and the world is given time to
come to rest. Promises are checked at every commit and effect (`ledger`), and in the end as a
whole (`reckoning`).
"""

import asyncio
import traceback
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, Final

from msgspec import Struct

from paygate_actors.messages import Refusal
from paygate_actors.simulation import reckoning
from paygate_actors.simulation.clients import Client, decision
from paygate_actors.simulation.disk import Disk
from paygate_actors.simulation.faults import Dice, Fault, Options
from paygate_actors.simulation.ledger import Ledger
from paygate_actors.simulation.notices import Notices
from paygate_actors.simulation.provider import SimulatedProvider
from paygate_actors.simulation.server import PROVIDERS, Server, Surroundings
from paygate_actors.simulation.tracing import Breach, Trace, Violation
from paygate_engine.errors import EngineError
from paygate_engine.simulation import Killed, SimulatedClock, Stalled, VirtualLoop

# How often it is looked whether the world has come to rest.
LOOK_S: Final = 60.0
# After the last sign of life it stays watched for this long: nothing may move by itself.
STILL_S: Final = 900.0
RESTART_S: Final = (0.1, 5.0)
LONG_OUTAGE_S: Final = 25 * 3_600.0
FREEZE_S: Final = (0.5, 60.0)
# Ahead by up to two hours; behind by less than what keys are not used for before they end.
CLOCK_JUMP_S: Final = (-200.0, 7_200.0)
# A person overlooks one payment in about so many: its review runs out after a day.
OVERLOOKED: Final = 32
# Crashes, freezes and jumps are looked at as often as this.
MISCHIEF_S: Final = 1.0


class Result(Struct, frozen=True, kw_only=True):
    """How a seed ended."""

    options: Options
    digest: str
    steps: int
    payments: int
    promises: int
    flagged: int
    lives: int
    virtual_s: float
    faults: dict[Fault, int]
    breach: Breach | None = None
    story: tuple[str, ...] = ()


class World:
    """Builds the world of `options`; `run` lives it once."""

    def __init__(self, options: Options, *, keep_story: bool = False) -> None:
        self.options = options
        self.loop = VirtualLoop()
        self.dice = Dice(options)
        self.trace = Trace(self.loop.time, keep=keep_story)
        self.ledger = Ledger(self.trace)
        self.clock = SimulatedClock(self.loop)
        self.disk = Disk(self.loop, self.dice, self._watched(self.ledger.committed))
        self.violation: Violation | None = None
        self.server: Server | None = None
        self._servers: list[Server] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._woken = asyncio.Event()
        self._outside = copy_context()
        self._fell = asyncio.Event()
        self._ready = asyncio.Event()
        self.notices = {name: self._notices(name) for name in PROVIDERS}
        self.providers = {
            name: self._provider(name, first=place == 0) for place, name in enumerate(PROVIDERS)
        }
        self.ledger.providers = self.providers
        self.clients = [
            Client(number, options=options, door=self._door, dice=self.dice, trace=self.trace)
            for number in range(options.clients)
        ]

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
        self.spawn(self._keep_running())
        mischief = self.spawn(self._mischief())
        self.spawn(self._review())
        clients = [self.spawn(client.run()) for client in self.clients]
        await self._until(asyncio.sleep(self.options.calm_s * 2))
        self.dice.heal()
        self.clock.offset_us = 0
        mischief.cancel()
        self.trace.note("from now on everything works")
        end_s = self.loop.time() + self.options.hours * 3_600
        await self._until(asyncio.wait(clients))
        await self._until(self._rest(end_s))
        await self._until(self._restart_in_order())
        await self._until(self._rest(end_s))
        return await self._reckon()

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
        while self.loop.time() - still_since_s < STILL_S:
            events = self.ledger.events
            await asyncio.sleep(LOOK_S)
            if events != self.ledger.events or self._busy():
                still_since_s = self.loop.time()
            if self.loop.time() > end_s:
                return

    def _busy(self) -> bool:
        outside = (*self.notices.values(), *self.providers.values())
        if any(each.under_way for each in outside):
            return True
        return any(
            reckoning.open_still(payment) is not None for payment in self.ledger.payments.values()
        )

    async def _restart_in_order(self) -> None:
        """Stop and start once more: what was at rest stays at rest."""
        server = self.server
        assert server is not None
        events, told = self.ledger.events, self._told()
        server.check()
        self._ready.clear()
        await server.stop()
        self._fell.set()
        await self._ready.wait()
        await asyncio.sleep(LOOK_S)
        server = self.server
        assert server is not None
        server.check()
        if self.ledger.events != events and self._told() == told:
            raise Violation(
                "what rests stays at rest", "a restart moved it", subject=self.ledger.newest
            )

    def _told(self) -> int:
        return sum(each.made for each in self.notices.values())

    async def _reckon(self) -> int:
        store, ledger = self.disk.store, self.ledger
        promises = [promise for client in self.clients for promise in client.promises]
        await reckoning.check_store(store, ledger)
        count = await reckoning.check_promises(store, ledger, promises)
        await reckoning.check_webhooks(store, ledger, self.notices)
        for payment in ledger.payments.values():
            reckoning.check_rest(payment)
            reckoning.check_books(payment, self.providers)
        return count

    # ------------------------------------------------------------------ the process

    async def _keep_running(self) -> None:
        while True:
            if self.server is None or self.server.process.dead:
                await self._start_again()
            else:
                self._fell.clear()
                await self._fell.wait()

    async def _start_again(self) -> None:
        dice = self.dice
        if self.server is not None:
            await self.server.handle.killed()
            long = dice.strikes("long_outage", weight=0.5)
            await asyncio.sleep(LONG_OUTAGE_S if long else dice.between(*RESTART_S))
        server = Server(self._surroundings(), len(self._servers), died=self._died)
        self._servers.append(server)
        self.server = server
        self.trace.note(f"the gateway starts, life {len(self._servers)}")
        if len(self._servers) > 1 and dice.strikes("crash_in_recovery", weight=3.0):
            self.loop.call_later(dice.between(0.0, 0.05), self._kill, server, "in its recovery")
        try:
            await server.start()
        except Killed:
            return
        except EngineError as error:
            self._kill(server, f"it could not start: {error!r}")
            return
        self._ready.set()
        self.trace.note("the gateway is ready")

    def _died(self, why: str) -> None:
        server = self.server
        if server is not None:
            # Not from within its own code: a dead process does not go on to the end of its line.
            self.loop.call_soon(self._kill, server, why, context=self._outside)

    def _kill(self, server: Server, why: str) -> None:
        if server.process.dead:
            return
        try:
            server.check()
        except Violation as violation:
            self.violate(violation)
        self.trace.note(f"the gateway dies: {why}")
        server.process.kill()
        self._fell.set()

    async def _mischief(self) -> None:
        dice = self.dice
        while True:
            await asyncio.sleep(dice.between(0.0, 2 * MISCHIEF_S))
            server = self.server
            if server is None or server.process.dead:
                continue
            if dice.strikes("crash", weight=0.3):
                self._kill(server, "killed")
            elif dice.strikes("freeze", weight=0.3):
                seconds = dice.between(*FREEZE_S)
                self.trace.note(f"the gateway is frozen for {seconds:.1f} s")
                server.process.freeze(seconds)
            elif dice.strikes("clock_jump", weight=0.2):
                self.clock.offset_us = round(dice.between(*CLOCK_JUMP_S) * 1_000_000)
                self.trace.note(f"the clock is off by {self.clock.offset_us / 1e6:.0f} s")

    # ------------------------------------------------------------------ the doors

    async def _door(self, verb: str, command: Any) -> Any:
        await asyncio.sleep(self.dice.between(0.0, 0.02))
        server = self.server
        if server is None:
            raise Killed
        if verb == "payment":
            return await server.ask(lambda front: front.payment(*command))
        if verb == "process":
            refused = await server.ask(_admits)
            if refused is not None:
                return refused
        return await server.ask(lambda front: getattr(front, verb)(command))

    async def _post(self, provider: str, headers: dict[str, str], body: bytes) -> Refusal | None:
        server = self.server
        if server is None:
            raise Killed
        return await server.ask(lambda front: front.webhook(provider, headers, body))

    async def _review(self) -> None:
        """A person looks at what waits for one, now and then."""
        while True:
            await asyncio.sleep(self.dice.between(60.0, 600.0))
            for payment in list(self.ledger.payments.values()):
                if payment.status == "review" and int(payment.id[-1], 36) % OVERLOOKED:
                    approve = self.dice.rng.random() < 0.6  # noqa: PLR2004 - most are fine
                    command = decision(payment.id, approve=approve)
                    try:
                        await self._door("review", command)
                    except Killed:
                        break

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
            self.violate(Violation("the world goes on", _where(error)))

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Violation):
            self.violate(error)
        elif error is not None:
            self.violate(Violation("nothing fails unseen", _where(error)))

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            options=self.options,
            loop=self.loop,
            outside=self._outside,
            clock=self.clock,
            disk=self.disk,
            dice=self.dice,
            trace=self.trace,
            providers=self.providers,
            sent=self._watched(self.ledger.sent),
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
        return Notices(name, dice=self.dice, trace=self.trace, post=self._post, spawn=self.spawn)

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
        for server in self._servers:
            server.bury()
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
            lives=len(self._servers),
            virtual_s=self.loop.time(),
            faults=dict(self.dice.counts),
            breach=breach,
            story=tuple(self.trace.story(subject)) if self.trace.lines else (),
        )


def _where(error: BaseException) -> str:
    """The error, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return repr(error) + "".join(f" < {each.name}:{each.lineno}" for each in reversed(frames))


def _nobody_listens(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """The world is over; what still complains was cut off on purpose."""


async def _admits(front: Any) -> Refusal | None:
    return front.admits()
