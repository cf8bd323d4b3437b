"""The payment actor: the one owner of one payment. It joins decisions, journal and effects.

A message comes in; a pure decision makes events of it; they are committed together with all that
follows from them; only then the caller hears, and only then the world is acted upon. What is
decided is in `charging`, `operating`, `following` and `facts`; what is remembered in `record`.

What is in memory only (who waits for an answer, when to ask again, the CVV) may be lost at any
moment: a restart reads the journal and asks the providers about everything that is open.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from paygate_actors import events as e
from paygate_actors import facts, operating
from paygate_actors.card import SealedCard
from paygate_actors.charging import create, doubt
from paygate_actors.draft import Answer, Context, Draft
from paygate_actors.evolving import evolve
from paygate_actors.house import House
from paygate_actors.messages import (
    CapturePayment,
    PaymentReply,
    PaymentView,
    RefundPayment,
    Refusal,
    ReversePayment,
    TransactionReply,
    TransactionView,
)
from paygate_actors.payment_messages import (
    Await,
    Correct,
    Create,
    Decide,
    Look,
    Operate,
    Pursue,
    Reported,
    WhichCall,
)
from paygate_actors.pool import Answered, LookUp
from paygate_actors.projection import INBOX, Cause, look_at_us, unit
from paygate_actors.pursuer import Pursuer
from paygate_actors.record import Call, Payment
from paygate_actors.states import WAITING
from paygate_actors.sums import charge_of, unresolved
from paygate_actors.views import payment_view, transaction_view
from paygate_engine.actor import LATER, handles
from paygate_engine.entity import Entity
from paygate_engine.errors import Conflicted
from paygate_engine.future import LoopFuture
from paygate_engine.ids import Ids
from paygate_engine.stores.base import Claim, Conflict, Document, Done, Event
from paygate_engine.system import ActorSystem

# Room in the journal comes back within a group or two, on a full disk when somebody makes some.
REFUSED_RETRY_S = 1.0


class PaymentActor(Entity):
    """One payment. Alone in the process, and by `(payment, seq)` alone in the world."""

    __slots__ = ("_house", "_pursuer", "_waiters", "payment")

    payment: Payment | None

    def __init__(self, system: ActorSystem, key: str, *, house: House) -> None:
        super().__init__(system, key)
        self._house = house
        self.payment = None
        self._pursuer: Pursuer | None = None
        self._waiters: list[tuple[LoopFuture[Any], Await]] | None = None

    # ------------------------------------------------------------------ what the engine asks for

    def replay(self, event: Event) -> None:
        """Fold a recorded event in."""
        recorded = e.decode(event.kind, event.body)
        self.payment = evolve(self.payment, recorded, id=event.stream, at_us=event.at_us)

    def forget(self) -> None:
        """Drop everything: the journal has it."""
        if self._pursuer is not None:
            self._pursuer.drop()
        self.payment = None
        self._pursuer = None

    def on_loaded(self) -> None:
        """Take up what is open, behind the messages that wait already."""
        if self.payment is not None and unresolved(self.payment):
            self._house.again((self.key, Look()))

    def may_sleep(self) -> bool:
        """Nothing is under way and nobody waits."""
        return self._pursuer is None and not self._waiters

    def on_conflict(self, conflict: Conflict) -> bool:
        """Somebody else holds the idempotency key: the front looks again. Else decide again."""
        asker = self.asker()
        if conflict.what != "claim" or asker is None:
            return False
        asker.set_exception(Conflicted(conflict))
        return True

    def on_refused(self, message: Any, error: Exception) -> None:
        """Facts are never lost for want of room: they come again in a while."""
        self.system.after(REFUSED_RETRY_S, self._house.again, (self.key, message))

    # ------------------------------------------------------------------ commands

    @handles(Create)
    def on_create(self, message: Create) -> object:
        """Become a payment: accepted, scored, claimed, and the first call intended, in one go."""
        created = message.created
        ctx = self._house.context(created.currency, created.provider_pin)
        # A payment is as old as its id says: lists are cut by ids, and show this time.
        ctx = msgspec.structs.replace(ctx, now_us=Ids.time_of(self.key))
        draft = create(self.key, created, message.check, review=message.review, ctx=ctx)
        cause = Cause(who=f"key:{created.by}", what="process")
        return self._commit(
            draft,
            cause,
            reply=lambda: PaymentReply(payment=self._view()),
            claim=message.claim,
            documents=message.documents,
            card=message.card,
        )

    @handles(Operate)
    def on_operate(self, message: Operate) -> object:
        """Capture, refund or reverse."""
        command = message.command
        draft, ctx = self._draft()
        match command:
            case CapturePayment():
                answer = operating.capture(draft, command, message.key, ctx)
            case RefundPayment():
                answer = operating.refund(draft, command, message.key, ctx)
            case ReversePayment():
                answer = operating.reverse(draft, command, message.key, ctx)
        why = "" if isinstance(command, CapturePayment) else command.reason or ""
        cause = Cause(who=f"key:{command.caller.key_id}", what=type(command).__name__, why=why)
        return self._conclude(draft, answer, cause)

    @handles(Decide)
    def on_decide(self, message: Decide) -> object:
        """Approve or decline held funds."""
        command = message.command
        draft, _ = self._draft()
        answer = operating.review(draft, command)
        if answer.refusal is not None:
            return answer.refusal
        cause = Cause(
            who=f"key:{command.caller.key_id}", what=f"review {command.decision}", why=command.note
        )
        return self._commit(draft, cause, reply=lambda: PaymentReply(payment=self._view()))

    @handles(Correct)
    def on_correct(self, message: Correct) -> object:
        """Correct a transaction; what the provider said meanwhile is booked in any case."""
        command = message.command
        draft, ctx = self._draft()
        answer = facts.correct(draft, command, message.fresh, ctx)
        cause = Cause(
            who=f"key:{command.caller.key_id}",
            what=f"set status {command.status}",
            why=command.reason,
        )
        return self._conclude(draft, answer, cause)

    @handles(WhichCall)
    def on_which_call(self, message: WhichCall) -> Call | None:
        """The call that an operator's correction asks the provider about."""
        payment = self._known()
        txn = payment.txn(message.transaction_id)
        return None if txn is None else facts.call_to_ask(payment, txn)

    @handles(Await)
    def on_await(self, message: Await) -> object:
        """Let the asker wait for the payment, or one of its transactions, to move on."""
        asker = self.asker()
        view = self._moved_view(message)
        if asker is None or view is not None:
            return view
        # Those who gave up are dropped here, so that the list is as long as those who wait.
        waiting = [each for each in self._waiters or () if not each[0].done()]
        self._waiters = [*waiting, (asker, message)]
        return LATER

    # ------------------------------------------------------------------ facts

    @handles(Answered)
    def on_answered(self, message: Answered) -> object:
        """A provider answered a call or a look-up."""
        payment = self._known()
        call = payment.call(message.key)
        if call is None:
            return None
        if self._pursuer is not None:
            self._pursuer.heard(message)
        draft, ctx = self._draft()
        facts.said(draft, call, message.outcome, ctx)
        facts.passed(draft, ctx)
        if not draft.events:
            if self._pursuer is not None:
                self._pursuer.nothing_new(payment, message)
            return None
        cause = Cause(who=f"provider:{call.provider}", what=f"{message.source} {call.verb}")
        return self._commit(draft, cause)

    @handles(Reported)
    def on_reported(self, message: Reported) -> object:
        """A webhook: what follows from it and that it is done are one commit."""
        draft, ctx = self._draft()
        facts.reported(draft, message.event, message.provider, ctx)
        facts.passed(draft, ctx)
        done = Done(queue=INBOX, id=message.item_id, at_us=ctx.now_us)
        cause = Cause(
            who=f"provider:{message.provider}", what=f"webhook {message.event.event_type}"
        )
        return self._commit(draft, cause, done=(done,))

    @handles(Look)
    def on_look(self, message: Look) -> object:
        """See to deadlines, and to calls that nobody follows since the process started."""
        payment = self._known()
        draft, ctx = self._draft()
        for call in unresolved(payment):
            if self._pursuer is None or not self._pursuer.follows(call.key):
                doubt(draft, call, "restarted")
        facts.passed(draft, ctx)
        if draft.events:
            return self._commit(draft, Cause(who="system", what="look"))
        self._follow(payment, ())
        charge = charge_of(payment)
        if payment.status == "authorized" and charge is not None:
            # A hold that expired at the provider may not have been reported.
            job = LookUp(key=charge.key, payment_id=self.key)
            self._house.providers.submit(charge.provider, job)
        return None

    @handles(Pursue)
    def on_pursue(self, message: Pursue) -> None:
        """Ask about a call, or send it again."""
        if self._pursuer is not None:
            self._pursuer.due(self._known(), message.key)

    # ------------------------------------------------------------------ committing

    def _draft(self) -> tuple[Draft, Context]:
        payment = self._known()
        ctx = self._house.context(payment.created.currency, payment.created.provider_pin)
        return Draft(payment.id, payment, ctx.now_us), ctx

    def _conclude(self, draft: Draft, answer: Answer, cause: Cause) -> object:
        if not draft.events:
            return self._reply(answer)
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

        def then() -> None:
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
            ),
            then,
        )
        return LATER

    def _moved_on(self, draft: Draft, card: SealedCard | None) -> None:
        self.payment = payment = draft.payment
        if card is not None:
            self._pursuer = Pursuer(self._house, self.key, card)
        self._count(draft)
        self._follow(payment, draft.events)
        self._tell_arrivals(draft.before)
        self._set_alarm(draft.before)
        self._answer_waiters()

    def _answer_waiters(self) -> None:
        waiting, self._waiters = self._waiters or (), None
        for asker, message in waiting:
            view = self._moved_view(message)
            if view is None:
                self._waiters = [*(self._waiters or ()), (asker, message)]
            elif not asker.done():
                asker.set(view)

    def _moved_view(self, message: Await) -> PaymentView | TransactionView | None:
        payment = self._known()
        if message.transaction_id is None:
            return None if payment.status in WAITING else self._view()
        txn = payment.txn(message.transaction_id)
        if txn is None or txn.status == "pending":
            return None
        return transaction_view(payment, txn)

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

    def _set_alarm(self, before: Payment | None) -> None:
        at_us = look_at_us(self._known())
        if at_us is not None and (before is None or look_at_us(before) != at_us):
            self._house.alarm.at(self.key, at_us)

    def _count(self, draft: Draft) -> None:
        counts = self._house.counts
        for event in draft.events:
            match event:
                case e.Moved():
                    counts["moved", event.fact] += 1
                case e.CallStarted():
                    counts["call", event.provider, event.verb] += 1
                case e.AttentionRaised():
                    counts["attention", event.code] += 1
                case e.TransactionOpened():
                    counts["transaction", event.type, event.origin] += 1
                case _:
                    pass

    # ------------------------------------------------------------------ answering

    def _known(self) -> Payment:
        assert self.payment is not None, "the region hands messages to payments that exist"
        return self.payment

    def _view(self) -> PaymentView:
        return payment_view(self._known())

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
