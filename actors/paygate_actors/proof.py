"""What one payment's own history proves: each rule that it breaks, as a sentence. Pure.

The stream is read event by event, as recovery reads it, and every step is held against the rules
that money hangs on; at its end stands the payment that the lists should show. What the provider's
books say about it is `proof_books`' business, walking through a store is `proving`'s.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from paygate_actors import events as e
from paygate_actors.charging import HOLD_GONE, NOT_CONFIRMED
from paygate_actors.evolving import evolve
from paygate_actors.projection import (
    DESK,
    GONE,
    PAYMENT,
    TRANSACTION,
    documents,
    read_desk,
    read_payment,
    read_transaction,
    wake_at_us,
)
from paygate_actors.record import Call, Payment, is_release
from paygate_actors.states import IllegalTransition
from paygate_actors.sums import release_of
from paygate_actors.tallying import tallied
from paygate_engine.stores.base import Claim, Document, Event

Rule = Literal[
    "audit chain",
    "sequence",
    "fold",
    "one effect per key",
    "intent before effect",
    "one key at a time",
    "prepared before confirmed",
    "refunds within captures",
    "projection",
    "claim",
    "wake",
    "sum in the database",
    "checksum",
    "books: one effect per key",
    "books: known key",
    "books: same effect",
    "books: nothing kept",
]

_READERS: Final[dict[str, Callable[[Document], Struct]]] = {
    PAYMENT: read_payment,
    TRANSACTION: read_transaction,
    DESK: read_desk,
}

# Either says that a person was told of refunds beyond what was captured.
EXCESS: Final = "refund_exceeds_captured"
BY_PROVIDER: Final = "refunded_by_provider"

_ABOUT_A_CALL = (
    e.CallPrepared,
    e.CallInDoubt,
    e.CallPending,
    e.ActionRequested,
    e.CallApproved,
    e.CredentialNoted,
    e.CallDeclined,
)


class Violation(Struct, frozen=True, kw_only=True):
    """A rule that is broken, by whom (a payment's id, or a line of the books), and how."""

    subject: str
    rule: Rule
    text: str


class Approval(Struct, frozen=True, kw_only=True):
    """That a provider did a call, as recorded: how much, and when we knew. Minor units."""

    amount_minor: int
    currency: str
    at_us: int


class Span(Struct, frozen=True, kw_only=True):
    """Which of a payment's events were recorded in a row under one epoch; 0: by nobody's node."""

    first_seq: int
    last_seq: int
    epoch: int


class Proof(Struct, kw_only=True):
    """One payment read back. `payment`: None where not even its first event could be read.

    `recorded` says by which nodes' epochs, in the order of its events.
    `attentions`: every reason for which a person was ever called. `hold_gone`: its provider said
    that the hold is over. `captured_max_minor`: the most that was ever captured at a time.
    """

    payment_id: str
    payment: Payment | None = None
    events: int = 0
    recorded: list[Span] = []
    violations: list[Violation] = []
    attentions: set[str] = set()
    approvals: dict[str, list[Approval]] = {}
    hold_gone: bool = False
    captured_max_minor: int = 0

    def break_(self, rule: Rule, text: str) -> None:
        """Note that a rule is broken."""
        self.violations.append(Violation(subject=self.payment_id, rule=rule, text=text))


def prove(payment_id: str, events: Sequence[Event]) -> Proof:
    """Read a payment's events back, holding each against the rules. Stops where none can follow."""
    proof = Proof(payment_id=payment_id, events=len(events))
    for place, event in enumerate(events, start=1):
        if event.seq != place:
            proof.break_("sequence", f"event {place} is missing: event {event.seq} follows")
            return proof
        if not _step(proof, event):
            return proof
        _note_epoch(proof, event)
    if proof.payment is None:
        proof.break_("sequence", "it is listed, and has no events")
    else:
        _prove_refunds(proof, proof.payment)
    return proof


def prove_documents(proof: Proof, found: Iterable[Document]) -> None:
    """Hold what the lists show of the payment against what its events say."""
    if proof.payment is None or proof.violations:
        return  # what cannot be folded can be compared with nothing
    shown = {(each.kind, each.id): each for each in found}
    for expected in documents(None, proof.payment):
        document = shown.pop((expected.kind, expected.id), None)
        if document is None:
            proof.break_("projection", f"the {expected.kind} {expected.id} is not listed")
        elif differing := ", ".join(_differences(expected, document)):
            proof.break_(
                "projection",
                f"the {expected.kind} {expected.id} is shown otherwise than its events say:"
                f" {differing}",
            )
        elif not document.sound:
            proof.break_("checksum", f"the row of the {expected.kind} {expected.id} is damaged")
    for (kind, document_id), document in shown.items():
        if kind == DESK and document.facets == (GONE,):
            continue  # it was there once
        proof.break_("projection", f"the {kind} {document_id} is listed, and no event tells of it")


def prove_claim(proof: Proof, claim: Claim | None, *, holder_is_there: bool) -> None:
    """Hold the idempotency key that the payment was made with against who holds it."""
    if proof.payment is None or proof.payment.created.key is None:
        return
    if claim is None:
        proof.break_("claim", "nobody holds its idempotency key: a repetition would charge again")
    elif claim.stream != proof.payment_id and not holder_is_there:
        proof.break_("claim", f"its idempotency key points to {claim.stream}, which is not there")
    elif not claim.sound:
        proof.break_("checksum", "the row of its idempotency key is damaged")


def prove_wake(proof: Proof, *, is_woken: bool) -> None:
    """Hold a payment that waits for something against whether anybody would look at it."""
    if proof.payment is not None and wake_at_us(proof.payment) is not None and not is_woken:
        proof.break_("wake", "it is open, and no wake says so: no start would look at it")


def prove_tally(proof: Proof, tally: tuple[int, int] | None) -> None:
    """Hold what the database has added up (limit and used; None: nothing) against the payment."""
    if proof.payment is None:
        return
    limit, used = tallied(proof.payment)
    kept_limit, kept_used = tally or (0, 0)
    if (kept_limit, kept_used) != (limit, used):
        proof.break_(
            "sum in the database",
            f"{used} minor units of {limit} are spoken for, and the database has added up"
            f" {kept_used} of {kept_limit}",
        )


def _note_epoch(proof: Proof, event: Event) -> None:
    first_seq = event.seq
    if proof.recorded and proof.recorded[-1].epoch == event.epoch:
        first_seq = proof.recorded.pop().first_seq
    span = Span(first_seq=first_seq, last_seq=event.seq, epoch=event.epoch)
    proof.recorded.append(span)


def _step(proof: Proof, event: Event) -> bool:
    """Fold one event; False where it cannot be."""
    before = len(proof.violations)
    name = f"event {event.seq} ({event.kind})"
    try:
        recorded = e.decode(event.kind, event.body)
    except KeyError:
        proof.break_("fold", f"{name} is of a kind that this version does not know")
        return False
    except msgspec.MsgspecError as error:
        proof.break_("fold", f"{name} cannot be read: {error}")
        return False
    if proof.payment is not None:
        _hold(proof, proof.payment, recorded, name)
    try:
        folded = evolve(
            proof.payment, recorded, id=proof.payment_id, at_us=event.at_us, epoch=event.epoch
        )
    except (TypeError, IllegalTransition) as error:
        if len(proof.violations) == before:
            proof.break_("fold", f"{name} does not fold: {error}")
        return False
    proof.payment = folded
    proof.captured_max_minor = max(proof.captured_max_minor, folded.captured_minor)
    _note(proof, recorded, event.at_us)
    return True


def _note(proof: Proof, recorded: e.PaymentEvent, at_us: int) -> None:
    match recorded:
        case e.AttentionRaised():
            proof.attentions.add(recorded.code)
        case e.CallDeclined():
            proof.hold_gone |= recorded.failure.code in HOLD_GONE
        case e.CallApproved():
            approval = Approval(
                amount_minor=recorded.amount_minor, currency=recorded.currency, at_us=at_us
            )
            proof.approvals.setdefault(recorded.key, []).append(approval)
        case _:
            pass


def _hold(proof: Proof, payment: Payment, recorded: e.PaymentEvent, name: str) -> None:
    if isinstance(recorded, e.CallStarted):
        _hold_intent(proof, payment, recorded, name)
    elif isinstance(recorded, _ABOUT_A_CALL):
        call = payment.call(recorded.key)
        if call is None:
            text = f"{name} tells of the call {recorded.key}, and nobody intended it"
            proof.break_("intent before effect", text)
        elif isinstance(recorded, e.CallApproved) and not _first_effect(call, recorded):
            proof.break_("one effect per key", f"{name} is a second effect under {call.key}")
        else:
            _hold_steps(proof, payment, call, recorded, name)
    elif isinstance(recorded, e.TransactionSettled) and payment.txn(recorded.id) is None:
        text = f"{name} settles {recorded.id}, which was never opened"
        proof.break_("intent before effect", text)


def _hold_steps(
    proof: Proof, payment: Payment, call: Call, recorded: e.PaymentEvent, name: str
) -> None:
    text: str | None = None
    match recorded:
        case e.CallPrepared() if not call.unprepared:
            text = f"{name} prepares {call.key}, which is past that"
        case e.ActionRequested() | e.CallPending() | e.CallApproved() if call.unprepared:
            text = f"{name} tells that {call.key} took effect, and its object was never recorded"
        case e.CallDeclined() if (
            recorded.failure.code == NOT_CONFIRMED.code
            and call.prepared_id is not None
            and release_of(payment, call) is None
        ):
            text = f"{name} gives up {call.key}, and {call.prepared_id} may still be confirmed"
        case _:
            pass
    if text is not None:
        proof.break_("prepared before confirmed", text)


def _first_effect(call: Call, said: e.CallApproved) -> bool:
    # What was only held may be captured by the provider itself: that is told under the same key.
    return call.state != "approved" or (call.charges and said.captured and not call.captured)


def _hold_intent(proof: Proof, payment: Payment, intent: e.CallStarted, name: str) -> None:
    if payment.txn(intent.transaction_id) is None:
        text = f"{name} is a call for {intent.transaction_id}, which was never opened"
        proof.break_("intent before effect", text)
    if payment.call(intent.key) is not None:
        proof.break_("one key at a time", f"{name} uses {intent.key}, which was used before")
        return
    for other in _same_purpose(payment, intent):
        # Two voids of one charge move no more money than one.
        if other.state != "declined" and (other.verb, intent.verb) != ("void", "void"):
            may = "may still succeed" if other.unresolved else "has succeeded"
            text = f"{name} uses {intent.key}, while {other.key} for the same purpose {may}"
            proof.break_("one key at a time", text)


def _same_purpose(payment: Payment, intent: e.CallStarted) -> Iterator[Call]:
    """Earlier calls of which one alone may succeed beside the intended one."""
    charges = intent.verb in ("charge", "authorize")
    if not charges and intent.transaction_id == payment.txns[0].id:
        return  # it cancels what an attempt has prepared
    for call in payment.calls:
        if is_release(payment, call):
            continue
        if (
            call.transaction_id == intent.transaction_id
            or (charges and call.charges)
            or (intent.verb == "capture" == call.verb)
        ):
            yield call


def _prove_refunds(proof: Proof, payment: Payment) -> None:
    if EXCESS in proof.attentions:
        return
    refunds = [
        txn
        for txn in payment.txns
        if txn.type == "refund"
        and txn.status in ("pending", "success")
        and txn.currency == payment.created.currency
    ]
    ours = sum(txn.amount_minor for txn in refunds if txn.origin != "provider")
    whole = sum(txn.amount_minor for txn in refunds)
    minor = ours if BY_PROVIDER in proof.attentions else whole
    if minor > proof.captured_max_minor:
        proof.break_(
            "refunds within captures",
            f"{minor} minor units are refunded or being refunded, of"
            f" {proof.captured_max_minor} that were captured",
        )


def _differences(expected: Document, found: Document) -> Iterator[str]:
    if expected.scope != found.scope:
        yield "merchant"
    if expected.facets != found.facets:
        yield "filters"
    read = _READERS[expected.kind]
    try:
        was, now = read(expected), read(found)
    except (msgspec.MsgspecError, TypeError):
        yield "unreadable"
        return
    for field in was.__struct_fields__:
        if getattr(was, field) != getattr(now, field):
            yield field
