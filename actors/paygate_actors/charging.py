"""The money itself: what providers answer to a payment's attempts at it. Pure.

The rules that money hangs on:

* A call that is not known stays not known: only an answer, a look-up or a webhook that *says*
  what became of it moves the payment. Absence proves nothing.
* Another provider is tried only after a definite, retryable decline.
* What is not confirmed yet at a provider of two steps follows the rules of `preparing`.
* Success for an attempt that was given up is a `stray`: booked, reversed, and the status stays.
"""

from typing import Final, assert_never

from paygate_actors import events as e
from paygate_actors.by_provider import book_capture, captured_for_nobody
from paygate_actors.creating import attempt
from paygate_actors.credential_use import note_credential
from paygate_actors.doubting import doubt
from paygate_actors.draft import Context, Draft
from paygate_actors.failover import next_provider
from paygate_actors.messages import Failure
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.record import Call, Payment, is_stray, refused_in_review
from paygate_actors.states import FINAL
from paygate_actors.sums import charge_of, open_txn, release_of
from paygate_actors.undoing import book_stray, mismatch, reverse_by_system, void_charge

# What providers say of a hold, or of an unconfirmed object, that is no longer there.
HOLD_GONE: Final = frozenset({"authorization_expired", "cancelled", "charge_cancelled"})
# What they say of what is no hold any more: only a refund can give it back, or the rest of it.
SETTLED: Final = frozenset({"already_settled", "charge_refunded"})

NOT_CONFIRMED: Final = Declined(
    code="not_confirmed",
    message="The provider could not be brought to confirm it, and has nothing to confirm now.",
    retryable=True,
)
# A payer waits for so long; later than that nobody expects that somebody else charges it now.
ELSEWHERE_US: Final = 120_000_000


def charge_said(draft: Draft, call: Call, outcome: Outcome, ctx: Context) -> None:
    """What a provider says about an attempt at the money, whenever and however it says it."""
    match outcome:
        case Approved():
            _approved(draft, call, outcome, ctx)
        case Declined():
            _declined(draft, call, outcome, ctx)
        case ActionRequired():
            _action_required(draft, call, outcome)
        case Pending():
            _pending(draft, call, outcome)
        case Unknown():
            doubt(draft, call, outcome.reason)
        case _:
            assert_never(outcome)


def announce(draft: Draft, ctx: Context) -> None:
    """Move the payment to where its approved charge puts it."""
    payment = draft.payment
    overruled(draft, charge_of(payment))
    if payment.captured_minor:
        draft.move("captured")
    elif payment.fraud is not None and payment.fraud.review:
        draft.move("held", expires_at_us=ctx.now_us + ctx.review_us)
    else:
        draft.move("authorized")


def announce_or_give_back(draft: Draft, ctx: Context) -> None:
    """Announce what was captured, but for what was declined in review: that goes back."""
    refused = refused_in_review(draft.payment) if draft.payment.status == "review" else None
    charge = charge_of(draft.payment)
    if refused is None or charge is None:
        announce(draft, ctx)
    else:
        # It could not be given back, maybe for want of this very sum.
        reverse_by_system(draft, charge, refused.reason or "")


def repeated(draft: Draft, call: Call, said: Approved) -> None:
    """What was said before is said again: of another amount or currency, it calls a person."""
    if _is_second(draft, call, said):
        return
    known = {call.confirmed_minor}
    if call.captured and not said.captured:
        known.add(call.amount_minor)  # an older word, on the hold that was captured in part since
    differs = (
        said.amount.minor not in known or said.amount.currency != draft.payment.created.currency
    )
    if differs and not call.differs:
        draft.attend("amount_mismatch", call.key)


def _is_second(draft: Draft, call: Call, said: Approved) -> bool:
    # Another object succeeded under the key: a person alone can see there which is too many.
    if call.verb in ("capture", "void") or said.provider_txn_id == call.provider_txn_id:
        return False
    draft.attend("charged_twice", said.provider_txn_id)
    return True


def _approved(draft: Draft, call: Call, said: Approved, ctx: Context) -> None:
    if call.state == "approved":
        _approved_again(draft, call, said, ctx)
        return
    if call.verb == "charge" and not said.captured and call.unresolved:
        # Held, while we asked for the money: the provider has not finished.
        _pending(draft, call, Pending(provider_txn_id=said.provider_txn_id))
        return
    given_up = is_stray(draft.payment, call)
    if not given_up:
        overruled(draft, call)
    # The hold comes first, and its sum is the one that we asked for.
    unasked = not given_up and _unasked(draft.payment, call, said)
    draft.approve(
        call,
        provider_txn_id=said.provider_txn_id,
        minor=call.amount_minor if unasked else said.amount.minor,
        currency=said.amount.currency,
        captured=said.captured and not unasked,
    )
    if given_up:
        book_stray(draft, call, said)
        return
    if unasked:
        draft.attend("captured_by_provider", _book_unasked(draft, call, said))
    note_credential(draft, call, said)
    _after_approval(draft, call.key, ctx)


def _unasked(payment: Payment, call: Call, said: Approved) -> bool:
    """Whether the first news of a hold is that its provider captured it, or a part, by itself."""
    return call.verb == "authorize" and said.captured and not _exceeds(payment, call, said)


def _exceeds(payment: Payment, call: Call, said: Approved) -> bool:
    # Less than the whole is a partial capture, and no difference.
    return said.amount.minor > call.amount_minor or said.amount.currency != payment.created.currency


def _book_unasked(draft: Draft, call: Call, said: Approved) -> str:
    """Book that its provider captured what it holds by itself; the id of that transaction."""
    capture_id = book_capture(draft, call, said)
    draft.approve(
        call,
        provider_txn_id=said.provider_txn_id,
        minor=said.amount.minor,
        currency=said.amount.currency,
        captured=True,
    )
    return capture_id


def _after_approval(draft: Draft, key: str, ctx: Context) -> None:
    charge = draft.payment.call(key)
    assert charge is not None
    waiting = open_txn(draft.payment, "reverse")
    if charge.differs:
        draft.attend("amount_mismatch", key)
    if waiting is not None:
        if not any(
            other.unresolved and other.transaction_id == waiting.id for other in draft.payment.calls
        ):
            void_charge(draft, waiting, charge)
    elif charge.differs:
        mismatch(draft, key)
    else:
        announce(draft, ctx)


def _approved_again(draft: Draft, call: Call, said: Approved, ctx: Context) -> None:
    if _is_second(draft, call, said):
        return
    newest = charge_of(draft.payment)
    if newest is not None and newest.key == call.key:
        note_credential(draft, call, said)
    # A repetition, unless it says that what was only held is captured now.
    if not said.captured or call.captured:
        repeated(draft, call, said)
        return
    if newest is None or newest.key != call.key or draft.payment.status in FINAL:
        captured_for_nobody(draft, call, said)
        return
    if open_txn(draft.payment, "capture") is not None:
        return  # our own capture is about to say what became of it
    if draft.payment.captured_minor:
        return  # our own capture has said so, with another amount, and is being undone
    capture_id = _book_unasked(draft, call, said)
    if call.differs or _exceeds(draft.payment, call, said):
        mismatch(draft, call.key)
        return
    draft.attend("captured_by_provider", capture_id)
    if open_txn(draft.payment, "reverse") is not None:
        return  # it is about to say whether this stands
    announce_or_give_back(draft, ctx)


def _declined(draft: Draft, call: Call, said: Declined, ctx: Context) -> None:
    if not call.unresolved:
        if call.state == "approved" and said.code == "cancelled":
            gone_at_provider(draft, call)
        return  # anything else is an older fact
    uncertain = call.in_doubt or call.state != "open"
    if not said.conclusive and uncertain and not call.unprepared:
        return  # this request did nothing; an earlier one with this key may have
    if said.code == "cancelled" and release_of(draft.payment, call) is not None:
        said = NOT_CONFIRMED  # cancelled there by ourselves, and by nobody who would not pay
    failure = Failure(
        code=said.code,
        message=said.message,
        decline_code=said.decline_code,
        retryable=said.retryable,
    )
    # Who was told that nothing was charged does not expect that somebody else charges it now.
    given_up = draft.payment.txns[0].asserted is not None
    draft.add(e.CallDeclined(key=call.key, failure=failure, provider_txn_id=said.provider_txn_id))
    waiting = open_txn(draft.payment, "reverse")
    cancelled = said.code == "cancelled"
    if waiting is not None:
        draft.settle(waiting.id, "success" if cancelled else "cancelled")
    if cancelled:
        draft.move("cancelled")
        return
    late = ctx.now_us - call.started_at_us >= ELSEWHERE_US
    stays = waiting is not None or given_up or late
    following = None if stays else next_provider(draft.payment, call, said, ctx)
    if following is not None:
        attempt(draft, following, ctx)
    else:
        draft.move("failed", failure=failure)


def gone_at_provider(draft: Draft, call: Call) -> None:
    """Book that an approved charge was undone there, and not by a reverse of ours."""
    payment = draft.payment
    newest = charge_of(payment)
    if newest is None or newest.key != call.key:
        return
    if payment.status in ("failed", "cancelled"):
        return
    if open_txn(payment, "reverse") is not None:
        return  # our own void is about to say what became of it
    draft.open_transaction(
        "reverse",
        origin="provider",
        by=f"provider:{call.provider}",
        amount_minor=payment.captured_minor or payment.authorized_minor,
        status="success",
        provider=call.provider,
        provider_txn_id=call.provider_txn_id,
        reason="cancelled_by_provider",
    )
    if payment.status == "success":
        draft.attend("cancelled_by_provider", call.key)
    draft.move("cancelled")


def _action_required(draft: Draft, call: Call, said: ActionRequired) -> None:
    known = (call.state, call.in_doubt, call.url, call.expires_at_us)
    if not call.unresolved or known == ("action", False, said.url, said.expires_at_us):
        return
    overruled(draft, call)
    draft.add(
        e.ActionRequested(
            key=call.key,
            provider_txn_id=said.provider_txn_id,
            url=said.url,
            expires_at_us=said.expires_at_us,
        )
    )
    waiting = open_txn(draft.payment, "reverse")
    if waiting is None:
        draft.move("action_required", expires_at_us=said.expires_at_us)
        return
    charge = draft.payment.call(call.key)
    assert charge is not None
    void_charge(draft, waiting, charge)


def overruled(draft: Draft, call: Call | None) -> None:
    """Call a person where an operator said that it ended, and its provider says otherwise."""
    if call is not None and draft.payment.txns[0].asserted in ("failed", "cancelled"):
        # Whoever was told that nothing was charged may have charged the payer otherwise.
        draft.attend("assertion_overruled", call.key)


def _pending(draft: Draft, call: Call, said: Pending) -> None:
    if not call.unresolved:
        return
    known = said.provider_txn_id or call.provider_txn_id
    expected = said.expected_by_us or call.expected_by_us
    if (call.state, call.provider_txn_id, call.expected_by_us) != ("pending", known, expected):
        overruled(draft, call)
        draft.add(e.CallPending(key=call.key, provider_txn_id=known, expected_by_us=expected))
    draft.move("resumed")
