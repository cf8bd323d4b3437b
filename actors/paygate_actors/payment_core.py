"""What every message to a payment ends in: a draft that is committed, and what follows from it.

The state, how it is read back, how a decision becomes durable, and what the process does once it
is: answer, wake waiters, set alarms, pursue calls. No message is handled here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from paygate_actors import events as e
from paygate_actors.card import SealedCard
from paygate_actors.doubting import take_up
from paygate_actors.draft import Answer, Context, Draft
from paygate_actors.evolving import evolve
from paygate_actors.facts import settled_unheard
from paygate_actors.house import House
from paygate_actors.merchant_events import tells
from paygate_actors.messages import Refusal, TransactionReply
from paygate_actors.payment_messages import Confirm, Create, Look
from paygate_actors.pool_messages import Answered
from paygate_actors.projection import Cause, look_at_us, unit
from paygate_actors.pursuer import Pursuer
from paygate_actors.record import Payment
from paygate_actors.sums import unresolved
from paygate_actors.views import transaction_view
from paygate_actors.waiting import Waiters
from paygate_engine.actor import LATER
from paygate_engine.entity import Entity
from paygate_engine.errors import Conflicted
from paygate_engine.stores.base import Claim, Conflict, Document, Done, Event
from paygate_engine.system import ActorSystem

# Room in the journal comes back within a group or two, on a full disk when somebody makes some.
REFUSED_RETRY_S = 1.0


class PaymentCore(Entity):
    """A payment's state, and the one way in which it changes."""

    __slots__ = ("_house", "_peeking", "_pursuer", "_told", "_waiters", "payment")

    # Each of these records what it decides, or comes again; then it is seen that another node has
    # recorded more. Not so `Look`: where nothing is open as far as is known, it records nothing,
    # and what another node has opened since would be nobody's.
    optimistic = frozenset({Answered, Confirm, Create})

    payment: Payment | None

    def __init__(self, system: ActorSystem, key: str, *, house: House) -> None:
        super().__init__(system, key)
        self._house = house
        self.payment = None
        self._told = 0  # how many events its merchant has been told
        self._pursuer: Pursuer | None = None
        self._waiters: Waiters | None = None
        self._peeking = False

    # ------------------------------------------------------------------ what the engine asks for

    def replay(self, event: Event) -> None:
        """Fold a recorded event in."""
        recorded = e.decode(event.kind, event.body)
        before = self.payment
        self.payment = evolve(
            before, recorded, id=event.stream, at_us=event.at_us, epoch=event.epoch
        )
        self._told += tells(recorded, self.payment, before) is not None

    def forget(self) -> None:
        """Drop everything: the journal has it."""
        if self._pursuer is not None:
            self._pursuer.drop()
        self.payment = None
        self._told = 0
        self._pursuer = None

    def on_loaded(self) -> None:
        """Take up what is open, behind the messages that wait already.

        Who only slept goes on where it was; what another node recorded meanwhile is news to it.
        """
        self._pursuer = self._house.asleep.pop(self.key, None)
        if self._pursuer is not None:
            if self._pursuer.seq != self.seq:
                self.on_caught_up()
            return
        if self.payment is not None and unresolved(self.payment):
            self._house.again((self.key, Look()))
        if self.payment is not None and self._house.nodes.epoch:
            # Its deadlines were watched by the node that recorded them; it may be gone.
            self._watch(self.payment)

    def on_caught_up(self) -> None:
        """Go on from where another node has brought it."""
        payment = self._known()
        if self._pursuer is not None:
            self._pursuer.caught_up()
        if self._pursuer is not None or unresolved(payment):
            self._follow(payment, ())
        self._tell_arrivals(None)
        self._set_alarm(None)
        if self._waiters:
            self._waiters.answer(payment)

    def may_sleep(self) -> bool:
        """Nobody waits, and nothing is under way; only a timer may have been set for the rest."""
        if self._waiters:
            return False
        return self._pursuer is None or self._pursuer.may_sleep(self._known())

    def on_sleep(self) -> None:
        """Leave behind what is pursued."""
        if self._pursuer is not None:
            self._pursuer.sleep(self._known(), self.seq)

    def on_conflict(self, conflict: Conflict) -> bool:
        """Somebody else holds the idempotency key: the front looks again. Else decide again."""
        asker = self.asker()
        if conflict.what != "claim" or asker is None:
            return False
        asker.set_exception(Conflicted(conflict))
        return True

    def on_refused(self, message: Any, error: Exception) -> None:
        """Facts are never lost for want of room: they come again in a while."""
        if isinstance(message, Answered) and self._pursuer is not None:
            self._pursuer.not_written(message)
        self.system.after(REFUSED_RETRY_S, self._house.again, (self.key, message))

    # ------------------------------------------------------------------ committing

    def _draft(self) -> tuple[Draft, Context]:
        payment = self._known()
        ctx = self._house.context(payment)
        draft = Draft(payment.id, payment, ctx.now_us, epoch=ctx.epoch)
        for call in unresolved(payment):
            # It was read back from the journal, or its node is gone: nobody knows whether what is
            # open has left, and whatever comes first must not be decided as if it had not.
            gone = self._pursuer is None or call.epoch != ctx.epoch
            if gone and not self._house.elsewhere(call):
                take_up(draft, call)
        return draft, ctx

    def _conclude(self, draft: Draft, answer: Answer, cause: Cause) -> object:
        if not draft.events:
            return self._reply(answer)
        cause = as_decided(cause, answer.refusal)
        return self._commit(draft, cause, reply=lambda: self._reply(answer))

    def _commit(
        self,
        draft: Draft,
        cause: Cause,
        *,
        reply: Callable[[], object] | None = None,
        claim: Claim | None = None,
        documents: tuple[Document, ...] = (),
        done: tuple[Done, ...] = (),
        card: SealedCard | None = None,
    ) -> object:
        asker = self.asker()
        told = self._house.notices.of(draft, self._told)

        def then() -> None:
            self._told += told.count
            self._house.notices.committed(told)
            self._moved_on(draft, card)
            if asker is not None:
                asker.set(None if reply is None else reply())

        self.persist(
            unit(
                draft,
                seq=self.seq,
                at_us=draft.at_us,
                cause=cause,
                claim=claim,
                extra=documents,
                done=done,
                told=told,
                epoch=draft.epoch,
            ),
            then,
        )
        return LATER

    def _moved_on(self, draft: Draft, card: SealedCard | None) -> None:
        self.payment = payment = draft.payment
        if card is not None:
            self._pursuer = Pursuer(self._house, self.key, card)
        self._house.count(draft.events)
        self._house.providers.learned(draft.before, payment, draft.events)
        self._house.ask_for_more(self.key, settled_unheard(draft))
        self._follow(payment, draft.events)
        self._tell_arrivals(draft.before)
        self._set_alarm(draft.before)
        if self._waiters:
            self._waiters.answer(payment)

    def _follow(self, payment: Payment, news: Sequence[e.PaymentEvent]) -> None:
        if self._pursuer is None:
            if not unresolved(payment):
                return
            self._pursuer = Pursuer(self._house, self.key, None)
        if not self._pursuer.follow(payment, news):
            self._pursuer = None

    def _tell_arrivals(self, before: Payment | None) -> None:
        payment = self._known()
        if payment.provider is None or payment.provider_txn_id is None:
            return
        known = None if before is None else (before.provider, before.provider_txn_id)
        if known != (payment.provider, payment.provider_txn_id):
            self._house.arrivals.appeared(payment.provider, payment.provider_txn_id)

    def _watch(self, payment: Payment) -> None:
        at_us = look_at_us(payment)
        if at_us is None or at_us > self._house.system.clock.now_us():
            self._house.alarm.at(self.key, at_us)
        elif payment.status != "authorized":
            # Now, while it is awake: an alarm for what is past would wake it again, and again after
            # each look that changes nothing. A hold is looked up once, by who has its alarm; what
            # is recorded of it sets another.
            self._house.again((self.key, Look()))

    def _set_alarm(self, before: Payment | None) -> None:
        at_us = look_at_us(self._known())
        if at_us != (None if before is None else look_at_us(before)):
            self._house.alarm.at(self.key, at_us)

    # ------------------------------------------------------------------ answering

    def _known(self) -> Payment:
        assert self.payment is not None, "the region hands messages to payments that exist"
        return self.payment

    def _reply(self, answer: Answer) -> TransactionReply | Refusal:
        if answer.refusal is not None:
            return answer.refusal
        payment = self._known()
        assert answer.transaction_id is not None
        txn = payment.txn(answer.transaction_id)
        assert txn is not None
        return TransactionReply(
            transaction=transaction_view(payment, txn), replayed=answer.replayed
        )


def as_decided(cause: Cause, refusal: Refusal | None) -> Cause:
    """What the audit says of a command: one that was refused moved nothing by its own will."""
    if refusal is None:
        return cause
    return msgspec.structs.replace(cause, what=f"{cause.what}: refused, {refusal.code}")
