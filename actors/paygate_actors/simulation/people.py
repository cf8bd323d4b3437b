"""The people of a simulated world: who reviews, who corrects, and who is not who he says he is."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from msgspec.structs import replace
from standardwebhooks import Webhook

from paygate_actors.desk_messages import AskAgain, GiveBack, MarkNotCharged, MarkSeen
from paygate_actors.giving_back import owed
from paygate_actors.messages import ReviewPayment, SetTransactionStatus
from paygate_actors.record import Payment, Txn
from paygate_actors.simulation.doors import (
    AGAIN,
    OPERATOR,
    DeskWish,
    Heard,
    ListPayments,
    Notice,
    PageHeard,
    Refused,
    Wish,
)
from paygate_actors.simulation.faults import Dice
from paygate_actors.simulation.ledger import FORGED, Ledger
from paygate_actors.simulation.notices import SECRET, moment, signed
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_actors.sums import in_doubt
from paygate_engine.simulation import Killed

Ask = Callable[[Wish], Awaitable[Heard]]

# How often somebody looks, in seconds.
_LOOK_S: Final = (60.0, 600.0)
_FORGE_S: Final = (1.0, 60.0)
# A person overlooks one payment in about so many: its review runs out after a day.
OVERLOOKED: Final = 32
# Nobody knows a provider's secret but the provider.
_OTHER_SECRET: Final = "whsec_" + base64.b64encode(b"what somebody else signs with").decode()
# Older than what any clock of ours may be off by.
_STALE_S: Final = 3 * 3_600.0
_AT_THE_DESK: Final = frozenset(
    {
        "not_in_doubt",
        "still_in_doubt",
        "still_may_succeed",
        "provider_silent",
        "provider_disagrees",
        "operation_in_progress",
    }
)
_ILLEGAL: Final = frozenset({"illegal_transition", "provider_disagrees", "operation_in_progress"})


class People:
    """Operators and strangers. `ask` reaches the gateway; it raises `Killed`."""

    def __init__(self, ledger: Ledger, *, ask: Ask, dice: Dice, trace: Trace) -> None:
        self._ledger = ledger
        self._ask_gateway = ask
        self._dice = dice
        self._trace = trace
        self._forged = 0

    async def review(self) -> None:
        """Look at what waits for a person, now and then; and at what is owed, once all works."""
        while True:
            await asyncio.sleep(self._dice.between(*_LOOK_S))
            for payment in list(self._ledger.payments.values()):
                if self._dice.healed and owed(payment) is not None:
                    await self._give_back(payment)
                if payment.status == "review" and int(payment.id[-1], 36) % OVERLOOKED:
                    approve = self._dice.rng.random() < 0.6  # noqa: PLR2004 - most are fine
                    await self._ask(
                        ReviewPayment(
                            caller=OPERATOR,
                            payment_id=payment.id,
                            decision="approve" if approve else "decline",
                            note="simulated",
                        )
                    )

    async def _give_back(self, payment: Payment) -> None:
        wish = GiveBack(caller=OPERATOR, payment_id=payment.id, reason="simulated")
        heard = await self._ask(wish)
        # What moved while he asked may have given it back, or taken it.
        if isinstance(heard, Refused) and heard.code not in AGAIN | {"payment_not_reversible"}:
            raise Violation("an operator is heard", heard.code, subject=payment.id)

    def meddle(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """All that they do beside that, while things go wrong."""
        return self.forge(), self.correct(), self.tend_the_desk(), self.list_all()

    async def correct(self) -> None:
        """Say how an open transaction ended, by force or not, knowing no better than anybody."""
        dice = self._dice
        while True:
            await asyncio.sleep(dice.between(*_LOOK_S) / 10)
            for payment, txn in self._open():
                if not dice.strikes("status_set"):
                    continue
                status = dice.rng.choice(("success", "failed", "cancelled"))
                force = dice.rng.random() < 0.5  # noqa: PLR2004 - a coin
                said = "insists" if force else "says"
                self._trace.note(f"an operator {said}: {txn.id} is {status}", about=payment.id)
                heard = await self._ask(
                    SetTransactionStatus(
                        caller=OPERATOR,
                        transaction_id=txn.id,
                        status=status,
                        reason="simulated",
                        force=force,
                    )
                )
                if isinstance(heard, Refused) and heard.code not in AGAIN | _ILLEGAL:
                    raise Violation("an operator is heard", heard.code, subject=payment.id)

    async def tend_the_desk(self) -> None:
        """See to what is in doubt or asks for a person, with what the desk offers."""
        dice = self._dice
        while True:
            await asyncio.sleep(dice.between(*_LOOK_S) / 5)
            for payment in self._on_the_desk():
                if not dice.strikes("desk_used"):
                    continue
                wish = _desk_wish(payment, dice)
                self._trace.note(
                    f"an operator at the desk: {type(wish).__name__}", about=payment.id
                )
                heard = await self._ask(wish)
                if isinstance(heard, Refused) and heard.code not in AGAIN | _AT_THE_DESK:
                    raise Violation("an operator is heard", heard.code, subject=payment.id)

    async def list_all(self) -> None:
        """Read the list of all payments to its end: what was there before is on it, once."""
        while True:
            await asyncio.sleep(self._dice.between(*_LOOK_S))
            known, found = set(self._ledger.payments), list[str]()
            cursor: str | None = None
            while True:
                page = await self._ask(ListPayments(caller=OPERATOR, cursor=cursor, limit=7))
                if not isinstance(page, PageHeard):
                    break
                found += page.ids
                cursor = page.next_cursor
                if cursor is None:
                    if not known <= set(found) or len(found) != len(set(found)):
                        raise Violation("a list has each payment once", f"{len(found)} found")
                    break

    async def forge(self) -> None:
        """Send webhooks that no provider sent; each must be refused, and leave nothing behind."""
        dice = self._dice
        while True:
            await asyncio.sleep(dice.between(*_FORGE_S))
            if not dice.strikes("webhook_forged"):
                continue
            kind = dice.rng.choice(tuple(_FORGERIES))
            expected, forge = _FORGERIES[kind]
            self._forged += 1
            notice = forge(f"{FORGED}{self._forged}", self._target())
            self._trace.note(f"a stranger sends a webhook: {kind}")
            heard = await self._ask(notice)
            # With its clock set wrong the gateway takes none at all.
            allowed = AGAIN | {expected, "signature_invalid"}
            if heard is not None and not (isinstance(heard, Refused) and heard.code in allowed):
                raise Violation("a forged webhook is refused", f"{kind}: {heard}")

    async def _ask(self, wish: Wish) -> Heard | None:
        try:
            return await self._ask_gateway(wish)
        except Killed:
            return None

    def _open(self) -> list[tuple[Payment, Txn]]:
        return [
            (payment, txn)
            for payment in self._ledger.payments.values()
            for txn in payment.txns
            if txn.status == "pending"
        ]

    def _on_the_desk(self) -> list[Payment]:
        return [
            payment
            for payment in self._ledger.payments.values()
            if payment.attention is not None or in_doubt(payment)
        ]

    def _target(self) -> str:
        """A key that a provider knows a charge by, as a stranger may have seen it somewhere."""
        keys = [call.key for each in self._ledger.payments.values() for call in each.calls]
        return self._dice.rng.choice(keys) if keys else "txn_none-1"


def _desk_wish(payment: Payment, dice: Dice) -> DeskWish:
    payment_id = payment.id
    match dice.rng.randrange(3):
        case 0:
            return AskAgain(caller=OPERATOR, payment_id=payment_id)
        case 1:
            return MarkNotCharged(caller=OPERATOR, payment_id=payment_id, reason="simulated")
        case _:
            return MarkSeen(caller=OPERATOR, payment_id=payment_id, note="simulated")


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _body(reference: str) -> bytes:
    return (
        b'{"providerID":"sandbox","eventType":"payment.succeeded","transactionID":"ch_sandbox_1",'
        b'"data":{"amountMinor":1,"currency":"USD","reference":"%b"},"timestamp":"%b"}'
        % (reference.encode(), moment(_now_s()).isoformat().encode())
    )


def _signed(event_id: str, body: bytes, *, age_s: float = 0.0, secret: str = SECRET) -> Notice:
    at = moment(_now_s() - age_s)
    return signed("sandbox", event_id, body, now=at, webhook=Webhook(secret))


def _other_secret(event_id: str, reference: str) -> Notice:
    return _signed(event_id, _body(reference), secret=_OTHER_SECRET)


def _stale(event_id: str, reference: str) -> Notice:
    return _signed(event_id, _body(reference), age_s=_STALE_S)


def _changed(event_id: str, reference: str) -> Notice:
    right = _signed(event_id, _body(reference))
    return replace(right, body=right.body.replace(b'"amountMinor":1', b'"amountMinor":2'))


def _renamed(event_id: str, reference: str) -> Notice:
    right = _signed(event_id, _body(reference))
    return replace(right, headers={**right.headers, "webhook-id": event_id + "x"})


def _unsigned(event_id: str, reference: str) -> Notice:
    return Notice(provider="sandbox", headers={"webhook-id": event_id}, body=_body(reference))


def _elsewhere(event_id: str, reference: str) -> Notice:
    return replace(_signed(event_id, _body(reference)), provider="nowhere")


def _garbage(event_id: str, reference: str) -> Notice:
    return _signed(event_id, _body(reference)[:-9])


def _others(event_id: str, reference: str) -> Notice:
    # Both providers share a secret here: the body still says whose event it is.
    return replace(_signed(event_id, _body(reference)), provider="sandbox_backup")


_FORGERIES: Final[dict[str, tuple[str, Callable[[str, str], Notice]]]] = {
    "signed with another secret": ("signature_invalid", _other_secret),
    "signed hours ago": ("signature_invalid", _stale),
    "changed after it was signed": ("signature_invalid", _changed),
    "under another id": ("signature_invalid", _renamed),
    "not signed": ("signature_invalid", _unsigned),
    "to a provider that is not there": ("provider_not_found", _elsewhere),
    "signed, but no event": ("malformed_body", _garbage),
    "of another provider": ("malformed_body", _others),
}
