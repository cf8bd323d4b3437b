"""The payment actor: the one owner of one payment. It joins decisions, journal and effects.

A message comes in; a pure decision makes events of it; they are committed together with all that
follows from them; only then the caller hears, and only then the world is acted upon. What is
decided is in `charging`, `operating`, `following` and `facts`; what is remembered in `record`.

Reading back and committing is `payment_core`'s business, operators' words are `payment_desk`'s.

What is in memory only (who waits for an answer, when to ask again, the CVV) may be lost at any
moment: a restart reads the journal and asks the providers about everything that is open.
"""

from typing import Any, Final

import msgspec

from paygate_actors import facts, operating
from paygate_actors.creating import create
from paygate_actors.draft import Context, Draft
from paygate_actors.messages import CapturePayment, PaymentReply, RefundPayment, ReversePayment
from paygate_actors.outcomes import Prepared, Unknown
from paygate_actors.payment_desk import PaymentAtDesk
from paygate_actors.payment_messages import (
    Await,
    Confirm,
    Correct,
    Create,
    Decide,
    Look,
    Operate,
    Peek,
    Pursue,
    Reported,
    WhichCall,
)
from paygate_actors.pool_messages import Answered, look_up_of
from paygate_actors.preparing import give_up, prepared, unanswered
from paygate_actors.projection import INBOX, Cause, look_at_us
from paygate_actors.record import Call
from paygate_actors.sums import charge_of
from paygate_actors.waiting import Waiters, moved_view
from paygate_engine.actor import LATER, handles
from paygate_engine.errors import AskTimeout
from paygate_engine.future import LoopFuture
from paygate_engine.ids import Ids
from paygate_engine.stores.base import Done

# Somebody waits for what another node may do: a read each time, and nobody notices a quarter of a
# second. It ends with the wait.
PEEK_S: Final = 0.25


class PaymentActor(PaymentAtDesk):
    """One payment. Alone in the process, and by `(payment, seq)` alone in the world."""

    __slots__ = ()

    # ------------------------------------------------------------------ commands

    @handles(Create)
    def on_create(self, message: Create) -> object:
        """Become a payment: accepted, scored, claimed, and the first call intended, in one go."""
        created = message.created
        ctx = self._house.context(None, message.route)
        # A payment is as old as its id says: lists are cut by ids, and show this time.
        ctx = msgspec.structs.replace(ctx, now_us=Ids.time_of(self.key))
        draft = create(self.key, created, message.check, review=message.review, ctx=ctx)
        cause = Cause(who=f"key:{created.by}", what="process")
        return self._commit(
            draft,
            cause,
            reply=lambda: PaymentReply(payment=draft.view),
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
        return self._commit(draft, cause, reply=lambda: PaymentReply(payment=draft.view))

    @handles(Correct)
    def on_correct(self, message: Correct) -> object:
        """Correct a transaction; what the provider said meanwhile is booked in any case."""
        command = message.command
        draft, ctx = self._draft()
        answer = facts.correct(draft, command, message.fresh, ctx, key=message.key)
        facts.patience(draft, ctx)
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
        view = moved_view(self._known(), message)
        if asker is None or view is not None:
            return view
        self._waiters = self._waiters or Waiters()
        self._waiters.add(asker, message)
        asker.add_done_callback(self._gave_up)
        self._peek_later()
        return LATER

    @handles(Peek)
    def on_peek(self, message: Peek) -> None:
        """Whoever waits was answered when the news were folded in; look again for the others."""
        self._peeking = False
        if self._waiters:
            self._waiters.answer(self._known())
        if self._waiters:
            self._peek_later()

    def _gave_up(self, asker: LoopFuture[Any]) -> None:
        # A message is what a payment sleeps behind; the next one may be days away.
        if isinstance(asker.exception(), AskTimeout) and not self._peeking:
            self._peeking = True
            self._house.again((self.key, Peek()))

    def _peek_later(self) -> None:
        # What another node records is not told to this one.
        if self._house.nodes.epoch and not self._peeking:
            self._peeking = True
            self.system.after(PEEK_S, self._house.again, (self.key, Peek()))

    # ------------------------------------------------------------------ facts

    @handles(Answered)
    def on_answered(self, message: Answered) -> object:
        """A provider answered a call or a look-up."""
        draft, ctx = self._draft()
        call = draft.payment.call(message.key)
        if call is None:
            return None
        if self._pursuer is not None:
            self._pursuer.heard(message)
        hear(draft, call, message, ctx)
        facts.passed(draft, ctx)
        pursuer = self._pursuer
        if not draft.events and pursuer and pursuer.nothing_new(self._known(), message):
            give_up(draft, call, ctx)
        if not draft.events:
            return None
        cause = Cause(who=f"provider:{call.provider}", what=f"{message.source} {call.verb}")
        return self._commit(draft, cause)

    @handles(Reported)
    def on_reported(self, message: Reported) -> object:
        """A webhook: what follows from it and that it is done are one commit."""
        draft, ctx = self._draft()
        facts.reported(draft, message.event, message.provider, ctx)
        key = facts.taken_at_its_word(draft, message.event)
        key = key or facts.payer_came(draft, message.event, message.provider)
        if key is not None:
            # It waits behind this message, and so for its commit.
            self._house.again((self.key, Confirm(key=key)))
        else:
            self._house.ask_for_more(self.key, facts.told_too_little(draft))
        facts.passed(draft, ctx)
        done = Done(queue=INBOX, id=message.item_id, at_us=ctx.now_us)
        cause = Cause(
            who=f"provider:{message.provider}", what=f"webhook {message.event.event_type}"
        )
        return self._commit(draft, cause, done=(done,))

    @handles(Confirm)
    def on_confirm(self, message: Confirm) -> None:
        """Ask how much was done, or what the payer did; another sum than ours calls a person."""
        call = self._known().call(message.key)
        if call is not None and call.state in ("approved", "action"):
            self._house.providers.submit(call.provider, look_up_of(call, self.key))

    @handles(Look)
    def on_look(self, message: Look) -> object:
        """See to deadlines, and to calls that nobody follows since the process started."""
        payment = self._known()
        draft, ctx = self._draft()
        facts.passed(draft, ctx)
        if draft.events:
            return self._commit(draft, Cause(who="system", what="look"))
        self._follow(payment, ())
        at_us = look_at_us(payment)
        if at_us is not None and at_us > ctx.now_us:
            # It rang too early: timers count seconds, and the time of day was put back meanwhile.
            # Nothing else may ever wake a payment that waits for a person.
            self._house.alarm.at(self.key, at_us)
        charge = charge_of(payment)
        if payment.status == "authorized" and charge is not None:
            # A hold that expired at the provider may not have been reported.
            self._house.look_up(charge.provider, look_up_of(charge, self.key))
        return None

    @handles(Pursue)
    def on_pursue(self, message: Pursue) -> object:
        """Ask about a call, send it again, or give it up."""
        if self._pursuer is None:
            return None
        draft, ctx = self._draft()
        if draft.events:
            # The node that followed it is gone: that this one does is on record first.
            return self._commit(draft, Cause(who="system", what="pursue"))
        due = self._pursuer.due(self._known(), message.key)
        if due == "under_way":
            return None
        call = draft.payment.call(message.key)
        assert call is not None, "what is pursued is a call of the payment"
        if due == "give_up":
            give_up(draft, call, ctx)
        else:
            facts.said(draft, call, Unknown(reason="not_visible"), ctx)
        facts.passed(draft, ctx)
        return self._commit(draft, Cause(who="system", what="pursue")) if draft.events else None


def hear(draft: Draft, call: Call, message: Answered, ctx: Context) -> None:
    """Decide what an answer to a call, or to a question about it, means."""
    outcome = message.outcome
    if message.source == "prepare" and not call.unprepared:
        return  # the first step says nothing of the second
    if message.source == "call" and isinstance(outcome, Unknown):
        unanswered(draft, call, outcome)
    if not isinstance(outcome, Prepared):
        facts.said(draft, call, outcome, ctx)
    elif message.source == "prepare":
        prepared(draft, call, outcome)
    else:
        facts.said(draft, call, Unknown(reason="garbage"), ctx)
