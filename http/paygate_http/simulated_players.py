"""Accounts of a simulated world that speak real providers' languages, on the sandbox's books.

The gateway's side is the real adapter, the other side the real sandbox; only the network between
them is the simulation's, with all that goes wrong there. What the sandbox books is the ground
truth that the world's promises are held against.
"""

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.base import Provider
from paygate_actors.providers.http_client import Answered
from paygate_actors.simulation import books as simulated
from paygate_actors.simulation.accounts import Account, Ground, News
from paygate_actors.simulation.doors import Notice, Received, Refused
from paygate_actors.simulation.faults import seeded
from paygate_actors.simulation.links import Link
from paygate_actors.simulation.wire import FaultyWire, Heard, Request
from paygate_engine.simulation import Killed, SimulatedClock
from paygate_http.sandbox.books import Books
from paygate_http.sandbox.folder import Nowhere
from paygate_http.sandbox.inside import SANDBOX_URL, InsideSandbox
from paygate_http.sandbox.later import NotNow
from paygate_http.sandbox.records import Charge, LedgerLine
from paygate_http.sandbox.teller import Terms
from paygate_http.sandbox.wire import ProviderId
from paygate_http.simulated_kinds import KINDS, config_of

# The names that keys have in the languages which are spoken here.
_KEY_HEADERS: Final = ("Idempotency-Key", "PayPal-Request-Id")
# A key of ours, and what an adapter hangs on it for a step of its own.
_OURS: Final = re.compile(r"(txn_[0-9a-z]+-\d+)")
_NEWS_S: Final = (0.05, 1.5)
_LATE_S: Final = (2.0, 1_200.0)
# How long payers take.
_PAYER_S: Final = (1.0, 600.0)
_CONFIRM: Final = 0.7
_FAIL: Final = 0.85
_FIND_LAG_US: Final = 2_000_000
# A simulated day's outage is longer than what the sandbox's users wait for.
_ATTEMPTS_MAX: Final = 6_000
# The pursuit of what takes days would drown what matters.
_ASK_S_MAX: Final = 300.0


class SandboxPlayers:
    """One sandbox, and an account of it for each of `kinds`."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._kinds = {KINDS[kind][0].account: KINDS[kind] for kind in kinds}
        self.names = tuple(self._kinds)
        self._accounts: dict[str, PlayedAccount] = {}
        self._links: Mapping[str, tuple[Link, Link]] = {}
        self._ground: Ground | None = None
        self._sandbox: InsideSandbox | None = None
        self._post: _Post | None = None
        self._asked: set[str] = set()
        self._payers = random.Random(0)  # noqa: S311  # seeded in furnish()

    def configs(self) -> tuple[ProviderConfig, ...]:
        """How the gateway is told of them."""
        return tuple(config_of(trial) for trial, _ in self._kinds.values())

    def furnish(self, ground: Ground, links: Mapping[str, tuple[Link, Link]]) -> None:
        """Build the sandbox on the world's true clock."""
        self._ground = ground
        self._links = links
        self._payers = seeded(ground.options.seed, "payers at the sandbox")
        post = self._post = _Post(ground, {name: back for name, (_, back) in links.items()})
        sandbox = self._sandbox = InsideSandbox(
            clock=SimulatedClock(ground.loop),
            seed=ground.options.seed,
            terms=Terms(
                find_lag_us=_FIND_LAG_US,
                void_window_us=ground.options.void_window_s * 1_000_000,
                url=SANDBOX_URL,
            ),
            carrier=post,
            storage=_Witness(self._booked, self._asked_of_payer),
            attempts_max=_ATTEMPTS_MAX,
        )
        books = sandbox.parts.books
        for name in self.names:
            can = self.adapter(name).capabilities
            blind = not can.finds and can.steps == 1
            self._accounts[name] = PlayedAccount(name, books, post, blind=blind)

    def start(self) -> None:
        """Let the sandbox work."""
        _, sandbox, post = self._furnished()
        sandbox.start()
        post.adapters = {name: self.adapter(name) for name in self.names}

    def accounts(self) -> Mapping[str, Account]:
        """Each account by its name."""
        return self._accounts

    def news(self) -> Mapping[str, News]:
        """Each account's webhooks by its name."""
        return {name: account.news for name, account in self._accounts.items()}

    def adapter(self, name: str) -> Provider:
        """A new life's adapter: the real one, on a network on which things go wrong."""
        ground, sandbox, _ = self._furnished()
        trial, build = self._kinds[name]
        link = self._links[name][0]
        wire = _PlayedWire(name, sandbox, base=trial.path, ground=ground, link=link)
        adapter = build(config_of(trial), wire, ground.clock)
        adapter.capabilities = replace(adapter.capabilities, ask_max_s=_ASK_S_MAX)
        return adapter

    async def close(self) -> None:
        """End it."""
        if self._sandbox is not None:
            await self._sandbox.stop()

    def _furnished(self) -> "tuple[Ground, InsideSandbox, _Post]":
        assert self._ground is not None, "furnish() comes first"
        assert self._sandbox is not None
        assert self._post is not None
        return self._ground, self._sandbox, self._post

    def _booked(self, line: LedgerLine) -> None:
        ground, sandbox, _ = self._furnished()
        if line.provider not in self._kinds or line.idempotency_key is None:
            return
        books = sandbox.parts.books
        operation = books.operations[line.provider, line.idempotency_key]
        charge = books.charges[operation.charge_id]
        key = _own_key(operation.reference, operation.key)
        text = f"{line.provider} does it: {line.operation} of {line.amount_minor} {line.currency}"
        ground.trace.note(text, about=key)
        ground.effect(
            line.provider,
            simulated.Operation(
                key=key,
                verb=line.operation,
                params=b"",
                charge_id=charge.id,
                txn_id=operation.txn_id,
                amount_minor=line.amount_minor,
                currency=line.currency,
                as_asked=True,
                status="succeeded",
                at_s=ground.loop.time(),
                visible_at_s=ground.loop.time(),
            ),
            _simulated(charge),
        )

    def _asked_of_payer(self, charge: Charge) -> None:
        ground, _, _ = self._furnished()
        if charge.id not in self._asked:
            self._asked.add(charge.id)
            ground.spawn(self._decide(charge))

    async def _decide(self, charge: Charge) -> None:
        """Confirm, fail, or walk away, in the payer's own time."""
        _, sandbox, _ = self._furnished()
        await asyncio.sleep(self._payers.uniform(*_PAYER_S))
        chance = self._payers.random()
        with suppress(NotNow):  # it ran out of time, or was cancelled
            if chance < _CONFIRM:
                sandbox.parts.later.complete(charge)
            elif chance < _FAIL:
                sandbox.parts.later.fail(charge)


class PlayedAccount:
    """One of the sandbox's accounts, as the world's ledger reads it."""

    def __init__(self, name: str, books: Books, post: "_Post", *, blind: bool) -> None:
        self.name = name
        self.blind = blind
        self._books = books
        self.news = _PlayedNews(name, books, post)
        self.books = self

    @property
    def under_way(self) -> int:
        """What the sandbox will still do by itself."""
        return sum(
            each.provider == self.name and each.status in ("pending", "requires_action")
            for each in self._books.operations.values()
        )

    def of_keys(self, prefix: str) -> list[simulated.Charge]:
        """The charges that were made under keys of one transaction."""
        return [
            _simulated(each)
            for each in self._books.charges.values()
            if each.provider == self.name and _own_key(each.reference, each.key).startswith(prefix)
        ]

    def ever(self, key: str) -> bool:
        """Whether anything was ever asked for under this key."""
        return any(
            each.provider == self.name and _own_key(each.reference, each.key) == key
            for each in self._books.operations.values()
        )


class _PlayedNews:
    """An account's webhooks."""

    def __init__(self, name: str, books: Books, post: "_Post") -> None:
        self._name = name
        self._books = books
        self._post = post
        self.acknowledged: set[str] = post.acknowledged.setdefault(name, set())

    @property
    def under_way(self) -> int:
        return sum(each.provider == self._name for each in self._books.notices.values())

    @property
    def made(self) -> int:
        return self._post.made.get(self._name, 0)


class _Post:
    """Carries the sandbox's webhooks over the world's ways; some get lost, late or doubled."""

    def __init__(self, ground: Ground, links: Mapping[str, Link]) -> None:
        self.acknowledged: dict[str, set[str]] = {}
        self.made: dict[str, int] = {}
        self.adapters: Mapping[str, Provider] = {}
        self._ground = ground
        self._links = links

    def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def post(
        self, gateway_url: str, provider: ProviderId, body: bytes, headers: Mapping[str, str]
    ) -> bool:
        """Hand it over once; the sandbox repeats it, signed anew."""
        del gateway_url  # there is one gateway in a world
        ground = self._ground
        dice = ground.dice
        lower = {name.lower(): value for name, value in headers.items()}
        notice = Notice(provider=provider, headers=lower, body=body)
        self.made[provider] = self.made.get(provider, 0) + 1
        if self._asks(provider) and dice.strikes("webhook_dropped"):
            ground.trace.note(f"{provider} loses a webhook")
            return True
        if not dice.strikes("webhook_early"):
            await asyncio.sleep(dice.between(*_NEWS_S))
        await self._links[provider].passable.wait()
        if dice.strikes("webhook_late"):
            await asyncio.sleep(dice.between(*_LATE_S))
        if dice.strikes("webhook_doubled"):
            await self._hand_over(notice)
        return await self._hand_over(notice)

    def _asks(self, provider: ProviderId) -> bool:
        # Of a provider that nobody can ask, a lost webhook would be lost for ever: it repeats them.
        return self.adapters[provider].capabilities.finds

    async def _hand_over(self, notice: Notice) -> bool:
        ground = self._ground
        try:
            heard = await ground.post(notice)
        except Killed:
            return False
        said = heard.code if isinstance(heard, Refused) else "acknowledged"
        ground.trace.note(f"a webhook of {notice.provider}: {said}")
        if not isinstance(heard, Received):
            return False
        events = self.adapters[notice.provider].parse(notice.headers, notice.body)
        self.acknowledged[notice.provider].update(
            f"{notice.provider}/{event.event_id}" for event in events
        )
        return True


class _PlayedWire(FaultyWire):
    """The way to an account of the sandbox."""

    def __init__(
        self, name: str, sandbox: InsideSandbox, *, base: str, ground: Ground, link: Link
    ) -> None:
        super().__init__(loop=ground.loop, outside=ground.outside, dice=ground.dice, link=link)
        self._name = name
        self._sandbox = sandbox
        self._base = base
        self._ground = ground

    def leaves(self, request: Request) -> None:
        """Tell of a request under a key of ours; what has none can move nothing."""
        found = next(
            (request.headers[name] for name in _KEY_HEADERS if name in request.headers), ""
        )
        ours = _OURS.match(found)
        if ours is not None:
            self._ground.sent(self._name, ours[1])

    def reach(self, request: Request, heard: Callable[[Heard], None]) -> None:
        """Ask the sandbox, outside of the gateway's process."""
        dice = self._ground.dice
        if request.moves and dice.strikes("server_error"):
            heard(Answered(status=500, body=b"simulated"))
            return
        if not request.moves and dice.strikes("find_fails"):
            heard(Answered(status=500, body=b"simulated"))
            return
        self._ground.spawn(self._ask(request, heard))

    async def _ask(self, request: Request, heard: Callable[[Heard], None]) -> None:
        said = await self._sandbox.ask(
            request.method, self._base + request.path, headers=request.headers, body=request.body
        )
        heard(
            None
            if said is None
            else Answered(status=said.status, body=said.body, retry_after=said.retry_after)
        )


class _Witness(Nowhere):
    """Sees every movement of money as it is booked, and every charge that asks for its payer."""

    def __init__(
        self, booked: Callable[[LedgerLine], None], asked: Callable[[Charge], None]
    ) -> None:
        self._booked = booked
        self._asked = asked

    def put(self, kind: str, id_: str, record: object) -> None:
        """Tell of it."""
        del kind, id_
        match record:
            case LedgerLine():
                self._booked(record)
            case Charge(status="requires_action"):
                self._asked(record)
            case _:
                pass


def _own_key(reference: str, key: str) -> str:
    """Our key of the call, by whichever name the language carried it."""
    for named in (reference, key):
        ours = _OURS.match(named)
        if ours is not None:
            return ours[1]
    return key


def _simulated(charge: Charge) -> simulated.Charge:
    """A charge of the sandbox, as the world's ledger reads charges."""
    return simulated.Charge(
        id=charge.id,
        key=_own_key(charge.reference, charge.key),
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        status=charge.status,
        captured_minor=charge.captured_minor,
        refunded_minor=charge.refunded_minor,
        refunding_minor=charge.refunding_minor,
        dispute=None if charge.dispute == "due" else charge.dispute,
        disputed_minor=charge.disputed_minor,
    )
