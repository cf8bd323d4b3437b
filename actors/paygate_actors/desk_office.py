"""The desk as the doors see it: its pages, its four actions, and explanations.

What is listed comes from committed documents, so a restart loses nothing of it; how calls are
pursued right now is added by those payments whose calls are. Nothing here decides about money.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from pykka import ActorDeadError

from paygate_actors.desk_messages import (
    AskAgain,
    DeskEntry,
    DeskPage,
    Explanation,
    GiveBack,
    MarkNotCharged,
    MarkSeen,
    OpenCall,
)
from paygate_actors.explaining import explain
from paygate_actors.guarding import RECORDED_S
from paygate_actors.messages import Caller, Filters, Refusal
from paygate_actors.outcomes import Outcome
from paygate_actors.payment import PaymentActor
from paygate_actors.payment_messages import (
    AskNow,
    AtDesk,
    DoubtfulCharge,
    GivenBack,
    NotCharged,
    Seen,
    Watched,
)
from paygate_actors.pool_messages import NOT_ASKED, Answered
from paygate_actors.provider_desk import ProviderDesk
from paygate_actors.reads import NO_PAYMENT, Reads
from paygate_actors.record import Call
from paygate_engine.errors import AskTimeout, EngineError, Overloaded
from paygate_engine.region import Region
from paygate_engine.stores.base import Store
from paygate_engine.system import ActorSystem

# An operator waits for the provider's own deadline and the pool.
LOOK_UP_S: Final = 10.0
# What is live is an addition to a page: one that is busy writing is shown as committed.
LIVE_S: Final = 2.0


class DeskOffice:
    """Everything that the front is asked about the desk. Raises what the engine raises.

    `asleep(payment_id)`: whether it is pursued though its actor is not in memory.
    """

    def __init__(
        self,
        *,
        system: ActorSystem,
        store: Store,
        payments: Region[PaymentActor],
        providers: ProviderDesk,
        reads: Reads,
        report: Callable[[str, Answered], None],
        in_doubt_flag_us: int,
        asleep: Callable[[str], bool],
    ) -> None:
        self._asleep = asleep
        self._system = system
        self._store = store
        self._payments = payments
        self._providers = providers
        self._reads = reads
        self._report = report
        self._in_doubt_flag_us = in_doubt_flag_us

    async def page(self, caller: Caller, filters: Filters) -> DeskPage | Refusal:
        """A page of the desk, the newest payment first."""
        found = await self._reads.desk(caller, filters)
        if isinstance(found, Refusal):
            return found
        entries, cursor = found
        live = await asyncio.gather(*map(self._live, entries))
        # What was settled between the two looks is not on the desk any more.
        items = tuple(entry for entry in live if entry.in_doubt or entry.concerns)
        return DeskPage(items=items, next_cursor=cursor)

    async def explain(self, caller: Caller, payment_id: str) -> Explanation | Refusal:
        """Why the payment is where it is, and what comes next."""
        view = await self._reads.payment(caller, payment_id)
        if isinstance(view, Refusal):
            return view
        # Asked first: what the journal says then is as new as the calls, or newer.
        calls: Sequence[OpenCall] = ()
        if self._is_pursued(payment_id):
            calls = await self._payments.ask(payment_id, Watched(), timeout=RECORDED_S)
        return explain(
            await self._store.read_stream(payment_id),
            calls,
            now_us=self._system.clock.now_us(),
            in_doubt_flag_us=self._in_doubt_flag_us,
            audience="operator" if caller.role == "operator" else "merchant",
        )

    async def ask_again(self, command: AskAgain) -> DeskEntry | Refusal:
        """Ask about everything unsettled that was not asked about a moment ago."""
        payment_id = command.payment_id
        if not await self._is_there(command.caller, payment_id):
            return NO_PAYMENT
        asked = AskNow(by=command.caller.key_id)
        calls: tuple[Call, ...] | Refusal = await self._ask(payment_id, asked)
        if isinstance(calls, Refusal):
            return calls
        await asyncio.gather(*(self.look_up(call, payment_id=payment_id) for call in calls))
        return await self._ask(payment_id, AtDesk())

    async def mark_not_charged(self, command: MarkNotCharged) -> DeskEntry | Refusal:
        """Ask the provider about the charge in doubt; its payment decides by the answer."""
        if not await self._is_there(command.caller, command.payment_id):
            return NO_PAYMENT
        call: Call | None = await self._ask(command.payment_id, DoubtfulCharge())
        asked_at_us = self._system.clock.now_us()
        message = NotCharged(
            command=command,
            key=None if call is None else call.key,
            fresh=None if call is None else await self.look_up(call),
            asked_at_us=asked_at_us,
        )
        return await self._ask(command.payment_id, message)

    async def give_back(self, command: GiveBack) -> DeskEntry | Refusal:
        """Repeat a reverse that failed; the payment decides whether there is one."""
        if not await self._is_there(command.caller, command.payment_id):
            return NO_PAYMENT
        return await self._ask(command.payment_id, GivenBack(command=command))

    async def mark_seen(self, command: MarkSeen) -> DeskEntry | Refusal:
        """Note that a person has looked."""
        if not await self._is_there(command.caller, command.payment_id):
            return NO_PAYMENT
        return await self._ask(command.payment_id, Seen(command=command))

    async def look_up(self, call: Call, *, payment_id: str = "") -> Outcome | None:
        """Ask the provider about a call now; None where it gave no answer in time.

        With a payment's id the payment hears what came of it, whether anybody still waits or not.
        """
        asked = self._providers.look_up(call, timeout_s=LOOK_UP_S, payment_id=payment_id)
        try:
            if asked is not None:
                return await asked
        except AskTimeout:
            return None  # it is out, and its answer still comes to the payment
        except (Overloaded, ActorDeadError):
            pass
        if payment_id:
            self._report(payment_id, Answered(key=call.key, outcome=NOT_ASKED, source="look_up"))
        return None

    async def _live(self, entry: DeskEntry) -> DeskEntry:
        # Of what nobody pursues here the document says it all.
        if not self._is_pursued(entry.payment_id):
            return entry
        try:
            return await self._payments.ask(entry.payment_id, AtDesk(), timeout=LIVE_S)
        except (EngineError, ActorDeadError):
            return entry

    def _is_pursued(self, payment_id: str) -> bool:
        return self._payments.active(payment_id) is not None or self._asleep(payment_id)

    async def _is_there(self, caller: Caller, payment_id: str) -> bool:
        return not isinstance(await self._reads.payment(caller, payment_id), Refusal)

    async def _ask(self, payment_id: str, message: Any) -> Any:
        return await self._payments.ask(payment_id, message, timeout=RECORDED_S)
