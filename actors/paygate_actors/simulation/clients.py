"""The clients of a simulated world: merchants who pay, repeat, change their minds and hang up.

A client keeps what it was promised (every 2xx), and repeats what it was not told the outcome of
with the same key, as a careful client does. It knows the gateway by its door alone.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from paygate_actors.messages import Caller, ProcessPayment
from paygate_actors.money import Money
from paygate_actors.simulation.doors import (
    AGAIN,
    SPOILS,
    CheckFraud,
    Heard,
    ListPayments,
    Operation,
    PageHeard,
    PaymentHeard,
    ReadPayment,
    Refused,
    ScoreHeard,
    SpoiltRequest,
    TransactionHeard,
    Wish,
)
from paygate_actors.simulation.faults import Dice, Options, seeded
from paygate_actors.simulation.ledger import KEY_LIFE_US
from paygate_actors.simulation.tracing import Trace, Violation
from paygate_actors.simulation.wishes import Market, Wishes
from paygate_engine.simulation import Killed

# A client that hears nothing for this long was forgotten: every ask has a deadline before that.
SILENCE_S: Final = 300.0
# Careful clients repeat for hours; this many times at a growing distance is more than a day.
REPEATS_MAX: Final = 60
REPEAT_S_MAX: Final = 3_600.0
KEY_LIFE_S: Final = KEY_LIFE_US / 1_000_000
# A merchant of a simulated world has a few dozen payments: more pages than this are a circle.
PAGES_MAX: Final = 1_000

Ask = Callable[[Wish], Awaitable[Heard]]
HeardT = TypeVar("HeardT", PaymentHeard, PageHeard, ScoreHeard)


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A 2xx: what must be found from now on, whatever happens."""

    payment_id: str
    transaction_id: str | None
    merchant: str
    amount_minor: int


class Client:
    """One merchant's client. `ask` reaches the gateway; it raises `Killed`.

    `spoils`: what it sends is read, so that it may send what is no request.
    """

    def __init__(
        self,
        number: int,
        *,
        options: Options,
        ask: Ask,
        spoils: bool,
        market: Market,
        dice: Dice,
        trace: Trace,
    ) -> None:
        self.rng = seeded(options.seed, f"client {number}")
        self.caller = caller_of(number)
        self.promises: list[Promise] = []
        self._name = f"client {number} of {self.caller.merchant}"
        self._options = options
        self._ask_gateway = ask
        self._spoils = spoils
        self._market = market
        self._dice = dice
        self._trace = trace
        self._wishes = Wishes(number, self.caller, rng=self.rng, market=market)
        self._held: dict[tuple[str, str, str], tuple[str, float]] = {}

    async def run(self) -> None:
        """Live through the calm and the storm."""
        for _ in range(self.rng.randint(1, 3)):
            await asyncio.sleep(self.rng.random() * self._options.calm_s)
            await self._one_payment()

    async def _one_payment(self) -> None:
        wish = self._wishes.payment()
        if self._spoils and self._dice.strikes("request_spoilt"):
            await self._spoil(wish)
        copies = self.rng.choice((1, 1, 1, 2, 3))
        heard = await asyncio.gather(*(self._careful(wish) for _ in range(copies)))
        found = [each for each in heard if isinstance(each, PaymentHeard)]
        if wish.idempotency_key is not None and self.rng.random() < 0.2:  # noqa: PLR2004
            await self._mutated(wish, answered=bool(found))
        if not found:
            return
        payment_id = found[0].id
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(self.rng.choice((0.01, 1.0, 60.0)) * self.rng.random())
            await self._follow_up(wish, payment_id)

    async def _follow_up(self, made: ProcessPayment, payment_id: str) -> None:
        chance = self.rng.random()
        if chance < 0.15:  # noqa: PLR2004 - the shares of what clients do
            await self._read(payment_id)
        elif chance < 0.2:  # noqa: PLR2004
            await self._walk()
        elif chance < 0.25:  # noqa: PLR2004
            await self._ask_price()
        elif chance < 0.3:  # noqa: PLR2004
            await self._order_again(made)
        elif chance < 0.4 and made.capture_method == "manual":  # noqa: PLR2004
            await self._careful(self._wishes.capture(made, payment_id))
        elif chance < 0.85:  # noqa: PLR2004
            refunds = [self._wishes.refund(made, payment_id) for _ in range(self.rng.randint(1, 4))]
            if self.rng.random() < 0.3:  # noqa: PLR2004
                refunds.append(refunds[0])
            await asyncio.gather(*(self._careful(each) for each in refunds))
        else:
            await self._careful(self._wishes.reverse(payment_id))

    # ------------------------------------------------------------------ asking

    async def _careful(self, wish: ProcessPayment | Operation) -> Heard | None:
        """Ask until there is an answer; without a key only once."""
        safe_to_repeat = wish.idempotency_key is not None or _has_order(wish)
        for attempt in range(REPEATS_MAX):
            heard = await self._ask(wish)
            if heard is not None and not _again(heard):
                return heard
            untouched = isinstance(heard, Refused) and heard.code != "outcome_unknown"
            if not safe_to_repeat and not untouched:
                return None
            await asyncio.sleep(min(REPEAT_S_MAX, 2.0**attempt) * (0.5 + self.rng.random()))
        raise Violation("a client is served in the end", f"{_verb(wish)} was never answered")

    async def _ask(self, wish: ProcessPayment | Operation) -> Heard | None:
        """One request; None where nothing came back."""
        asked = asyncio.ensure_future(self._ask_gateway(wish))
        patience_s = SILENCE_S
        hangs_up = self._dice.strikes("disconnect")
        if hangs_up:
            patience_s = self._dice.between(0.0, 0.05)
        done, _ = await asyncio.wait((asked,), timeout=patience_s)
        if not done:
            asked.cancel()
            if not hangs_up:
                raise Violation("every request is answered in time", f"{_verb(wish)}, {self._name}")
            return None
        try:
            heard = asked.result()
        except Killed:
            return None
        self._heard(wish, heard)
        return heard

    async def _look(self, wish: Wish, kind: type[HeardT]) -> HeardT | None:
        """Ask for something that moves nothing; None where nothing came back."""
        try:
            heard = await self._ask_gateway(wish)
        except Killed:
            return None
        if isinstance(heard, kind):
            return heard
        if not _again(heard):
            raise Violation("an honest request is served", f"{_verb(wish)}: {heard}")
        return None

    def _heard(self, wish: ProcessPayment | Operation, heard: Heard) -> None:
        verb = _verb(wish)
        match heard:
            case Refused(code=code):
                about = "nobody's" if isinstance(wish, ProcessPayment) else wish.payment_id
                self._trace.note(f"{self._name} hears of its {verb}: {code}", about=about)
                if isinstance(wish, ProcessPayment) and code not in AGAIN and code != "no_provider":
                    raise Violation("an honest request is served", f"{verb}: {code}")
            case PaymentHeard():
                if isinstance(wish, ProcessPayment) and heard.amount_minor != wish.amount.minor:
                    raise Violation(
                        "a payment is of the amount that was asked for",
                        f"{heard.amount_minor} instead of {wish.amount.minor}",
                        subject=heard.id,
                    )
                self._market.saw(self.caller.merchant, heard.id, heard.token)
                self._promised(wish, heard.id, None, heard.amount_minor)
            case TransactionHeard():
                self._promised(wish, heard.payment_id, heard.id, heard.amount_minor)
            case _:
                raise Violation("an answer is what was asked for", f"{verb}: {heard}")

    def _promised(
        self, wish: ProcessPayment | Operation, payment_id: str, txn_id: str | None, minor: int
    ) -> None:
        named, verb = txn_id or payment_id, _verb(wish)
        self._trace.note(f"{self._name} hears of its {verb}: {named}", about=payment_id)
        self.promises.append(
            Promise(
                payment_id=payment_id,
                transaction_id=txn_id,
                merchant=self.caller.merchant,
                amount_minor=minor,
            )
        )
        if wish.idempotency_key is None:
            return
        path = "" if isinstance(wish, ProcessPayment) else wish.payment_id
        place = (verb, path, wish.idempotency_key)
        now_s = asyncio.get_running_loop().time()
        held, since_s = self._held.setdefault(place, (named, now_s))
        if held != named and now_s - since_s < KEY_LIFE_S:
            raise Violation(
                "a key answers with the same thing", f"{held}, then {named}", subject=payment_id
            )

    # ------------------------------------------------------------------ what must not work

    async def _mutated(self, wish: ProcessPayment, *, answered: bool) -> None:
        """The same key for another sum must be refused, where the first was taken."""
        amount = Money(wish.amount.minor + 1, wish.amount.currency)
        other = msgspec.structs.replace(wish, amount=amount)
        heard = await self._refusal(other)
        if not answered or heard is None or heard in AGAIN | {"idempotency_key_reused"}:
            return
        raise Violation("a key binds its request", f"{self._name} got {heard}")

    async def _spoil(self, wish: ProcessPayment) -> None:
        """What is no request makes nothing, and claims no key: `wish` has the same one."""
        foreign = self._wishes.stolen() if self.rng.random() < 0.2 else None  # noqa: PLR2004
        if foreign is not None:
            heard = await self._refusal(foreign)
            if heard is not None and heard not in AGAIN | {"validation_failed"}:
                raise Violation("a token is its merchant's", f"{self._name} got {heard}")
            return
        nothing = self._wishes.nothing(wish.idempotency_key)
        await self._refusal(SpoiltRequest(command=nothing, spoil=self.rng.choice(SPOILS)))

    async def _refusal(self, wish: Wish) -> str | None:
        """The code of a refusal, `taken` where there was none; None where nothing came back."""
        try:
            heard = await self._ask_gateway(wish)
        except Killed:
            return None
        return heard.code if isinstance(heard, Refused) else "taken"

    # ------------------------------------------------------------------ looking

    async def _read(self, payment_id: str) -> None:
        await self._look(ReadPayment(caller=self.caller, payment_id=payment_id), PaymentHeard)

    async def _walk(self) -> None:
        """Read the whole list while others pay: all that was there is on it, once, and ours."""
        merchant = self.caller.merchant
        known = set(self._market.made.get(merchant, ()))
        found: list[str] = []
        limit, cursor = self.rng.randint(1, 5), None
        for _ in range(PAGES_MAX):
            wish = ListPayments(caller=self.caller, cursor=cursor, limit=limit)
            page = await self._look(wish, PageHeard)
            if page is None:
                return
            found += page.ids
            cursor = page.next_cursor
            if cursor is None:
                break
        check_list(found, known, self._market, merchant)

    async def _ask_price(self) -> None:
        await self._look(CheckFraud(command=self._wishes.nothing(None)), ScoreHeard)

    async def _order_again(self, made: ProcessPayment) -> None:
        """An order that failed may be paid anew; one that did not is the same payment."""
        if not _has_order(made):
            return
        first = await self._careful(made)
        await asyncio.sleep(60.0 * self.rng.random())
        if not isinstance(first, PaymentHeard):
            return
        seen = await self._look(ReadPayment(caller=self.caller, payment_id=first.id), PaymentHeard)
        second = await self._careful(made)
        if seen is None or not isinstance(second, PaymentHeard):
            return
        if seen.status in ("failed", "cancelled") and seen.over and second.id == seen.id:
            raise Violation("an order that failed may be paid again", seen.status, subject=seen.id)


def caller_of(number: int) -> Caller:
    """Merchants have several clients each, so that keys of one merchant meet."""
    return Caller(role="merchant", merchant=f"m{number % 7}", key_id=f"key_{number}")


def check_list(found: list[str], known: set[str], market: Market, merchant: str) -> None:
    """Hold a list that was read to its end against what was known before. Raises `Violation`."""
    twice = {each for each in found if found.count(each) > 1}
    missing = known - set(found)
    foreign = {
        each
        for other, made in market.made.items()
        if other != merchant
        for each in made.intersection(found)
    }
    for wrong, said in ((twice, "twice"), (missing, "missing"), (foreign, "another's")):
        if wrong:
            raise Violation("a list has each payment once", f"{said}: {min(wrong)}")


def _again(heard: Heard) -> bool:
    return isinstance(heard, Refused) and heard.code in AGAIN


def _has_order(wish: Wish) -> bool:
    return isinstance(wish, ProcessPayment) and "orderID" in wish.metadata


def _verb(wish: Wish) -> str:
    return type(wish).__name__
