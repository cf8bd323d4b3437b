"""The two ways to make something happen: straight at the sandbox, and through a gateway."""

import random
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec.structs import replace

from paygate_actors.card import SealedCard
from paygate_actors.money import Money
from paygate_actors.outcomes import (
    ActionRequired,
    Approved,
    Declined,
    Outcome,
    Pending,
    Unknown,
)
from paygate_actors.providers.base import ChargeCall, FollowUpCall, Instrument, Provider
from paygate_actors.providers.trial import TrialAccount
from paygate_engine.clock import SystemClock
from paygate_engine.ids import Ids
from paygate_http.kit.desk import Desk
from paygate_http.kit.stand import RETURN_URL
from paygate_http.kit.wording import told
from paygate_http.triggers import Made, NotTriggered

# Public: every sandbox has it.
MERCHANT_KEY: Final = "sk_sandbox_merchant_a"
# The gateway answers when the payment has left `processing`, or after so many seconds.
WAIT_S: Final = 10
ASK_S: Final = 30.0
# Long over when a test runs next year.
_YEAR: Final = 2040

_CREATED: Final = 201
_encode = msgspec.json.Encoder(decimal_format="number").encode
_answer = msgspec.json.Decoder(dict[str, Any])


class StraightHand:
    """Calls the sandbox itself, through the adapter of the account's kind."""

    def __init__(
        self, trial: TrialAccount, *, provider: Provider, desk: Desk, amount: Money
    ) -> None:
        self.trial = trial
        self.desk = desk
        self._provider = provider
        self._amount = amount
        self._ids = Ids(SystemClock(), random.SystemRandom())
        self._calls: dict[str, ChargeCall] = {}

    async def pay(self, card: str, *, capture: bool = True) -> Made:
        """Charge or hold at the sandbox."""
        call = ChargeCall(
            key=f"{self._ids.new('txn')}-1",
            amount=self._amount,
            instrument=Instrument(
                kind="card",
                card=SealedCard(card, "123"),
                expiry_month=12,
                expiry_year=_YEAR,
                holder_name="Ada Example",
            ),
            capture=capture,
            description="paygate trigger",
            return_url=RETURN_URL,
        )
        outcome = await self._provider.charge(call)
        charge_id = await self._named(call.key, outcome)
        self._calls[charge_id] = call
        return Made(
            id=charge_id,
            charge_id=charge_id,
            status=_status(outcome),
            marks=(call.key, charge_id),
            url=outcome.url if isinstance(outcome, ActionRequired) else None,
        )

    async def _named(self, key: str, outcome: Outcome) -> str:
        if isinstance(outcome, ActionRequired):
            # A provider may name the charge only after its payer was there; the books know it, and
            # where they tell nobody yet, it is what the payer's own page is called.
            page = urlsplit(outcome.url).path.rpartition("/")[2]
            return await self.desk.charge_id(key) or page
        named: str | None = getattr(outcome, "provider_txn_id", None)
        return named or await self.desk.charge_id(key) or key

    async def confirmed(self, made: Made) -> Made:
        """Make the charge again, as the gateway would: some providers take the money only then."""
        await self._provider.charge(self._calls[made.charge_id])
        return made

    async def void(self, made: Made) -> Made:
        """Undo it."""
        call = self._follow(made)
        self._done("void", await self._provider.void(call))
        return replace(made, marks=(*made.marks, call.key))

    async def refund(self, made: Made) -> Made:
        """Give all of it back, or not: that is what the webhook tells."""
        call = self._follow(made)
        outcome = await self._provider.refund(call)
        if isinstance(outcome, Unknown):
            raise NotTriggered(f"the refund of {made.id} was answered {told(outcome)}")
        return replace(made, marks=(*made.marks, call.key))

    def _follow(self, made: Made) -> FollowUpCall:
        return FollowUpCall(
            key=f"{self._ids.new('txn')}-1", provider_txn_id=made.charge_id, amount=self._amount
        )

    @staticmethod
    def _done(what: str, outcome: Outcome) -> None:
        if not isinstance(outcome, Approved | Pending):
            raise NotTriggered(f"the {what} was answered {told(outcome)}")


class GatewayHand:
    """Asks a gateway that runs with its sandbox, with the sandbox's public key."""

    def __init__(
        self,
        trial: TrialAccount,
        *,
        url: str,
        desk: Desk,
        amount: Money,
        connections: aiohttp.ClientSession,
    ) -> None:
        self.trial = trial
        self.desk = desk
        self._url = url
        self._amount = amount
        self._connections = connections

    async def pay(self, card: str, *, capture: bool = True) -> Made:
        """Pay as a merchant does."""
        body = {
            "amount": self._amount.to_decimal(),
            "currency": self._amount.currency,
            "paymentMethod": {
                "type": "card",
                "cardNumber": card,
                "expiryMonth": 12,
                "expiryYear": _YEAR,
                "cvv": "123",
                "holderName": "Ada Example",
            },
            "captureMethod": "automatic" if capture else "manual",
            "description": "paygate trigger",
            "provider": self.desk.account,
            "returnURL": RETURN_URL,
        }
        payment = await self._ask("/api/payments/process", body)
        action: dict[str, str] = payment.get("nextAction") or {}
        charge_id = payment.get("providerTxnID") or ""
        return Made(
            id=payment["id"],
            charge_id=charge_id,
            status=payment["status"],
            marks=tuple(filter(None, (charge_id, payment["transactionID"]))),
            url=action.get("url"),
        )

    async def confirmed(self, made: Made) -> Made:
        """Leave it to the gateway, which hears of it."""
        return made

    async def void(self, made: Made) -> Made:
        """Reverse the payment."""
        return await self._follow(made, "reverse")

    async def refund(self, made: Made) -> Made:
        """Refund the payment."""
        return await self._follow(made, "refund")

    async def _follow(self, made: Made, what: str) -> Made:
        transaction = await self._ask(f"/api/payments/{made.id}/{what}", {})
        return replace(made, marks=(*made.marks, transaction["id"]))

    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {MERCHANT_KEY}",
            "Content-Type": "application/json",
            "Prefer": f"wait={WAIT_S}",
        }
        async with self._connections.post(
            self._url + path,
            data=_encode(body),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=ASK_S),
            allow_redirects=False,
        ) as response:
            raw = await response.read()
            if response.status != _CREATED:
                said = raw[:300].decode(errors="replace")
                raise NotTriggered(f"the gateway answered {response.status}: {said}")
            try:
                return _answer.decode(raw)
            except msgspec.DecodeError as error:
                raise NotTriggered(f"{self._url} is no gateway: {error}") from error


def money(text: str, currency: str) -> Money:
    """Read an amount in major units. Raises ValueError or KeyError."""
    return Money.parse(text, currency.upper())


def _status(outcome: Outcome) -> str:
    match outcome:
        case Approved():
            return "success" if outcome.captured else "authorized"
        case ActionRequired():
            return "requires_action"
        case Declined():
            return "failed" if outcome.conclusive else f"not made ({outcome.code})"
        case Pending():
            return "processing"
        case Unknown():
            return f"not known ({outcome.reason})"
