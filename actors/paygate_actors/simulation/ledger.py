"""What is durable, read as it is written, and held against the promises at every commit.

The ledger folds the events of each committed unit by itself. It is told of everything that leaves
for a provider and of every effect there, so that it can say at once when money moves that no
durable intent asked for, or moves twice, or moved for a payment that is over.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from paygate_actors import events as e
from paygate_actors.evolving import evolve
from paygate_actors.projection import INBOX, PAYMENT, TRANSACTION, read_payment, read_transaction
from paygate_actors.record import IN_DOUBT, Payment, Txn
from paygate_actors.simulation.accounts import Account
from paygate_actors.simulation.authors import unheard
from paygate_actors.simulation.books import Charge, Operation
from paygate_actors.simulation.durable import Standing
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_actors.simulation.wishes import NEVER
from paygate_actors.sums import asserted, in_doubt, left_to_refund, refunded
from paygate_actors.telling import told
from paygate_actors.views import payment_view, transaction_view
from paygate_engine.stores.base import AuditRow, Document, Event, Unit

_VERB_OF_PATH = {"captures": "capture", "voids": "void", "refunds": "refund"}
# A key stands for a day; less what the gateway's clock may be ahead.
KEY_LIFE_US = 20 * 3_600 * 1_000_000
_OVER = ("failed", "cancelled")
# Queues of what merchants are still to be sent begin so.
OUTBOX = "outbox/"
# The ids of events that no provider sent begin so.
FORGED = "evt_forged_"
# While everything works, what operators have had given back as often as this does not go back.
TRIES_MAX = 2
# Whole card numbers of the clients: none of them may ever be written.
CARDS = (
    b"4242424242424242",
    b"4000000000000002",
    b"4000000000009995",
    b"4000000000000119",
    b"4000002760003184",
)


class Ledger:
    """Every payment as committed. Raises `Violation`."""

    def __init__(self, trace: Trace) -> None:
        self.payments: dict[str, Payment] = {}
        self.received: set[str] = set()
        self.done: set[str] = set()
        self.outgoing: set[str] = set()
        self.providers: Mapping[str, Account] = {}
        self.standing: Callable[[], Standing | None] = lambda: None
        """How the node stands whose code runs just now; None where there is one alone."""
        self.lives: Callable[[int], bool] = lambda _: True
        """Whether a node's epoch is not over."""
        self.events = 0
        self.decided = 0
        self.calm = False
        """Whether everything works from now on."""
        self.newest = ""
        self._trace = trace
        self._intents: dict[str, e.CallStarted] = {}
        self._payment_of: dict[str, str] = {}
        self._made: dict[str, Event] = {}
        self._orders: dict[str, Event] = {}
        self._tries: Counter[str] = Counter()

    # ------------------------------------------------------------------ commits

    def committed(self, units: Sequence[Unit], audit: Sequence[Sequence[AuditRow]]) -> None:
        """A group is durable."""
        for unit, rows in zip(units, audit, strict=True):
            touched: dict[str, Payment | None] = {}
            for event in unit.events:
                touched.setdefault(event.stream, self.payments.get(event.stream))
                self._fold(event)
            for item in unit.items:
                if item.queue == INBOX:
                    self._check_origin(item.id)
                    self.received.add(item.id)
                elif item.queue.startswith(OUTBOX):
                    self.outgoing.add(item.id)
            for done in unit.done:
                self.done.add(done.id)
                self.outgoing.discard(done.id)
            self._check_audit(unit, rows)
            self._check_secrets(unit)
            for payment_id, before in touched.items():
                self._check_payment(self.payments[payment_id], before, unit)

    def payment_of(self, key: str) -> Payment | None:
        """The payment that a provider's key was made for."""
        payment_id = self._payment_of.get(key)
        return None if payment_id is None else self.payments[payment_id]

    def _fold(self, event: Event) -> None:
        recorded = e.decode(event.kind, event.body)
        before = self.payments.get(event.stream)
        after = evolve(before, recorded, id=event.stream, at_us=event.at_us, epoch=event.epoch)
        self.payments[event.stream] = after
        # A node that takes over what another one left says so, and nothing has moved by that.
        still = before is not None and (
            _taken_over(before, recorded) or _called_already(before, recorded)
        )
        self.events += not still
        if before is not None:
            self._check_followers(before, after)
        self.newest = about = event.stream
        words = told(recorded, currency=after.created.currency)
        self._trace.note(f"recorded: {words}", about=about, detail=event.body)
        match recorded:
            case e.Reviewed(decision="approve"):
                self.decided += 1
            case e.TransactionOpened(type="reverse", origin="operator"):
                self.decided += 1
                self._check_decided(after, recorded)
            case e.PaymentCreated():
                self._check_created(recorded, event)
            case e.TransactionOpened(key=e.RequestKey() as key):
                self._check_key(f"{event.stream} {recorded.type} {key.name}", event)
            case _:
                pass
        if isinstance(recorded, e.CallStarted):
            self._check_intent(after, recorded)
            self._intents[recorded.key] = recorded
            self._payment_of[recorded.key] = event.stream
        if isinstance(recorded, e.StatusAsserted) and before is not None:
            self._check_room(before, after)
        if before is not None and before.status in _OVER and after.status != before.status:
            raise Violation(
                "a final payment stays as it is",
                f"{before.status} became {after.status}",
                subject=about,
            )

    def _check_origin(self, item_id: str) -> None:
        if FORGED in item_id:
            raise Violation("a forged webhook leaves nothing behind", item_id)

    def _check_created(self, created: e.PaymentCreated, event: Event) -> None:
        if created.metadata.get("orderID", "").startswith(NEVER):
            raise Violation(
                "what was refused, or only asked about, makes nothing",
                str(created.metadata),
                subject=event.stream,
            )
        key = created.key
        if key is None:
            return
        if key.derived:
            self._check_order(key.name, event)
        else:
            self._check_key(key.name, event)

    def _check_decided(self, payment: Payment, reverse: e.TransactionOpened) -> None:
        """What a person declines, or has given back again, is given back."""
        about = payment.txn(reverse.stray_id or "") or payment
        # Who has not heard what went back already, or that only a part was captured, asks for too
        # much; a dispute gives nothing.
        hindered = any(
            charge.taken_back_minor
            or charge.refunded_minor != refunded(payment, about=reverse.stray_id)
            or unheard(about, charge)
            for charge in self._charges(payment)
            if charge.id == about.provider_txn_id
        )
        if not self.calm or hindered:
            return
        self._tries[about.id] += 1
        if self._tries[about.id] > TRIES_MAX:
            said = f"given back {self._tries[about.id]} times, and {payment.status}"
            raise Violation("what a person decides is done", said, subject=payment.id)

    def _check_order(self, name: str, event: Event) -> None:
        """An order without a key is paid once, unless its payment is over and took nothing."""
        first = self._orders.get(name)
        self._orders[name] = event
        if first is None or event.at_us - first.at_us >= KEY_LIFE_US:
            return
        earlier = self.payments[first.stream]
        if earlier.status not in _OVER or in_doubt(earlier):
            raise Violation(
                "an order is paid once",
                f"{first.stream} is {earlier.status}",
                subject=event.stream,
            )

    def _check_followers(self, before: Payment, after: Payment) -> None:
        for call, now in zip(before.calls, after.calls, strict=False):  # calls are only ever added
            if now.epoch != call.epoch and self.lives(call.epoch):
                raise Violation(
                    "nobody takes up what another node follows",
                    f"{call.key} of epoch {call.epoch} by epoch {now.epoch}",
                    subject=after.id,
                )

    def _check_room(self, before: Payment, after: Payment) -> None:
        if left_to_refund(after) > left_to_refund(before):
            raise Violation(
                "a forced status frees nothing",
                f"{left_to_refund(before)} was left, and is {left_to_refund(after)}",
                subject=after.id,
            )

    def _check_disputes(self, payment: Payment) -> None:
        """A charge is under one dispute at a time, open or lost, whatever was told how often."""
        standing: dict[tuple[str | None, str | None], int] = {}
        for txn in payment.txns:
            place = (txn.provider, txn.provider_txn_id)
            if txn.type == "chargeback" and txn.status in ("pending", "success"):
                standing[place] = standing.get(place, 0) + 1
            elif txn.type == "chargeback_reversal":
                standing[place] = standing.get(place, 0) - 1
        if any(count > 1 for count in standing.values()):
            raise Violation("a dispute is booked once", str(standing), subject=payment.id)

    def _check_key(self, name: str, event: Event) -> None:
        """Whoever repeats a request with its key within a day gets what the first one made."""
        first = self._made.get(name)
        if first is not None and event.at_us - first.at_us < KEY_LIFE_US:
            raise Violation(
                "a key makes one thing",
                f"{first.stream} {first.seq} and {event.stream} {event.seq}",
                subject=event.stream,
            )
        self._made[name] = event

    def _check_intent(self, payment: Payment, intent: e.CallStarted) -> None:
        """One intent has one key for life, and no refund is intended beyond what was captured."""
        if intent.key in self._intents:
            raise Violation("a key is used once", intent.key, subject=payment.id)
        if intent.verb != "void":
            for call in payment.calls:
                same = (call.transaction_id, call.verb, call.provider) == (
                    intent.transaction_id,
                    intent.verb,
                    intent.provider,
                )
                if same and call.key != intent.key:
                    raise Violation(
                        "one intent has one key for life",
                        f"{call.key} and {intent.key}",
                        subject=payment.id,
                    )
        txn = payment.txn(intent.transaction_id)
        if txn is not None and txn.type == "refund":
            reserved = _reserved(payment.txns)
            if reserved > payment.captured_minor:
                raise Violation(
                    "no refund beyond what was captured",
                    f"{reserved} of {payment.captured_minor}",
                    subject=payment.id,
                )

    def _check_payment(self, payment: Payment, before: Payment | None, unit: Unit) -> None:
        documents = {(each.kind, each.id): each for each in unit.documents}
        main = documents.get((PAYMENT, payment.id))
        if main is None or read_payment(main) != payment_view(payment):
            raise Violation("the events fold to the projection", _kinds(unit), subject=payment.id)
        self._check_disputes(payment)
        for txn in payment.txns:
            self._check_transaction(payment, txn, documents.get((TRANSACTION, txn.id)))
        over = payment.status in _OVER and (before is None or before.status != payment.status)
        if over and not any(each.code == "amount_mismatch" for each in payment.concerns):
            self._check_nothing_kept(payment)

    def _check_transaction(self, payment: Payment, txn: Txn, document: Document | None) -> None:
        if document is not None and read_transaction(document) != transaction_view(payment, txn):
            raise Violation("the events fold to the projection", txn.id, subject=payment.id)

    def _check_nothing_kept(self, payment: Payment) -> None:
        for charge in self._charges(payment):
            open_still = charge.status in ("pending", "requires_action")
            if (charge.kept_minor > 0 or open_still) and not charge.own_doing:
                raise Violation(
                    "never failed or cancelled while money may have moved",
                    f"{payment.status}, but {charge.id} is {charge.status}",
                    subject=payment.id,
                )

    def _check_audit(self, unit: Unit, rows: Sequence[AuditRow]) -> None:
        for stream in dict.fromkeys(event.stream for event in unit.events):
            count = sum(event.stream == stream for event in unit.events)
            covered = sum(row.events for row in rows if row.entry.stream == stream)
            if covered != count:
                raise Violation(
                    "the audit covers every event, in its transaction",
                    f"{covered} of {count}",
                    subject=stream,
                )

    def _check_secrets(self, unit: Unit) -> None:
        bodies = [each.body for each in (*unit.events, *unit.documents, *unit.claims, *unit.items)]
        if any(number in body for body in bodies for number in CARDS):
            raise Violation("no card number is written", _kinds(unit))

    # ------------------------------------------------------------------ calls and effects

    def sent(self, provider: str, path: str, key: str, body: bytes) -> None:
        """A request that may move money leaves: its intent must be durable."""
        key = key.removesuffix("-prepare")
        self._trace.note(f"a request leaves for {provider}: {path}", about=key, detail=body)
        intent = self._intents.get(key)
        noun, _, named = path.removeprefix(f"/providers/{provider}/").partition("/")
        verb = _VERB_OF_PATH.get(noun)
        if intent is None or intent.provider != provider or (verb and verb != intent.verb):
            raise Violation("an intent is durable before its call leaves", f"{path} {key}")
        if verb is None and intent.verb not in ("charge", "authorize"):
            raise Violation("a call does what was intended", f"{path} {key}")
        call = self.payments[self._payment_of[key]].call(key)
        self._check_sender(self.payments[self._payment_of[key]], key)
        if noun == "charges" and (call is None or call.prepared_id != (named or None)):
            raise Violation("what is prepared is durable before it is confirmed", f"{path} {key}")

    def left(self, provider: str, key: str) -> None:
        """A request under a key of ours leaves, in a language that is not read here."""
        self._trace.note(f"a request leaves for {provider}", about=key)
        intent = self._intents.get(key)
        if intent is None or intent.provider != provider:
            raise Violation("an intent is durable before its call leaves", f"{provider} {key}")
        self._check_sender(self.payments[self._payment_of[key]], key)

    def effect(self, provider: str, operation: Operation, charge: Charge) -> None:
        """Money moved at a provider."""
        payment = self.payment_of(operation.key)
        if payment is None:
            raise Violation("no effect without an intent", f"{operation.verb} {operation.key}")
        if operation.verb not in ("charge", "authorize") or charge.own_doing:
            return
        if payment.status in _OVER:
            raise Violation(
                "nothing is charged for a payment that is over",
                f"{payment.status}, then {operation.key} at {provider}",
                subject=payment.id,
            )
        live = [each for each in self._charges(payment) if each.live and not each.own_doing]
        if len(live) > 1:
            raise Violation(
                "never two charges for one intent",
                ", ".join(each.id for each in live),
                subject=payment.id,
            )

    def _check_sender(self, payment: Payment, key: str) -> None:
        """It leaves from the node that has it on record, while that is sure of its place.

        What was about to leave when its node was frozen leaves when that goes on.
        """
        standing, call = self.standing(), payment.call(key)
        if standing is None or standing.thawed:
            return
        if call is None or call.epoch != standing.epoch:
            on_record = None if call is None else call.epoch
            raise Violation(
                "a call leaves from the node that has it on record",
                f"{key} of epoch {on_record} from epoch {standing.epoch}",
                subject=payment.id,
            )
        if not standing.certain:
            raise Violation(
                "nothing leaves from a node that may have lost its place", key, subject=payment.id
            )

    def _charges(self, payment: Payment) -> list[Charge]:
        prefix = payment.txns[0].id + "-"
        return [
            each for account in self.providers.values() for each in account.books.of_keys(prefix)
        ]


def _taken_over(payment: Payment, recorded: e.PaymentEvent) -> bool:
    """Whether a node says by this that it takes up what is in doubt, or for a payer to confirm.

    Or what a person has said the end of: it is asked about still, whoever does so.
    """
    if not isinstance(recorded, e.CallInDoubt) or recorded.reason != "restarted":
        return False
    call = payment.call(recorded.key)
    return call is not None and (call.in_doubt or call.state == "action" or asserted(payment, call))


def _called_already(payment: Payment, recorded: e.PaymentEvent) -> bool:
    """Whether a person, called already, hears of a long doubt as well: time has brought it."""
    in_doubt_long = isinstance(recorded, e.AttentionRaised) and recorded.code == IN_DOUBT
    return in_doubt_long and bool(payment.unseen)


def _reserved(txns: Sequence[Txn]) -> int:
    return sum(
        txn.amount_minor
        for txn in txns
        if txn.type == "refund" and txn.status in ("pending", "success")
    )


def _kinds(unit: Unit) -> str:
    return ", ".join(event.kind for event in unit.events) or "no events"
