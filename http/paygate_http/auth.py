"""Who asks: API keys by their keyed digest, the sandbox's fixed keys, and what each role may do.

A key is never stored, logged or compared as text: it is looked up by its HMAC-SHA256 under the
configured pepper. Keys are long and random, so a plain look-up by digest leaks nothing useful by
its timing.
"""

import asyncio
import base64
import hmac
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from paygate_actors.messages import ApiKey, Caller, Role
from paygate_engine.clock import Clock
from paygate_http.incoming import Incoming
from paygate_http.problems import Problem
from paygate_http.rate import TokenBuckets

SANDBOX_PREFIX: Final = "sk_sandbox_"
SANDBOX_KEYS: Final[Mapping[str, Caller]] = {
    f"{SANDBOX_PREFIX}merchant_a": Caller(
        role="merchant", merchant="merchant_a", key_id="key_sandbox_merchant_a"
    ),
    f"{SANDBOX_PREFIX}merchant_b": Caller(
        role="merchant", merchant="merchant_b", key_id="key_sandbox_merchant_b"
    ),
    f"{SANDBOX_PREFIX}operator": Caller(
        role="operator", merchant="", key_id="key_sandbox_operator"
    ),
    f"{SANDBOX_PREFIX}metrics": Caller(role="metrics", merchant="", key_id="key_sandbox_metrics"),
}

# A revoked key works for at most this long; a busy one is looked up this often.
CACHE_S: Final = 5.0
# As many keys as one process can serve in that time, at under 1 KB each.
CACHED_MAX: Final = 10_000
# A mistyped key is tried again a few times; whoever guesses gets one look-up a second.
LOOKUPS_PER_S: Final = 1.0
LOOKUPS_BURST: Final = 50.0

_TOKEN = re.compile(r"(?i:bearer) +([\x21-\x7e]{8,256})")


def key_digest(pepper: bytes, key: str) -> str:
    """Digest an API key as it is stored: HMAC-SHA256 under the pepper, in hex."""
    return hmac.digest(pepper, key.encode(), "sha256").hex()


class Keys:
    """Finds the caller of a request.

    `pepper` None: there are no stored keys. `sandbox_keys` must never be true on a live server.
    """

    __slots__ = ("_asked", "_cached", "_clock", "_find", "_fixed", "_lookups", "_pepper")

    def __init__(
        self,
        find: Callable[[str], Awaitable[ApiKey | None]],
        clock: Clock,
        *,
        pepper: str | None,
        sandbox_keys: bool,
    ) -> None:
        self._find = find
        self._clock = clock
        self._pepper = None if pepper is None else base64.b64decode(pepper)
        self._fixed = SANDBOX_KEYS if sandbox_keys else {}
        # Digest to (caller, when it must be looked up again).
        self._cached: dict[str, tuple[Caller, float]] = {}
        # Of requests that bring one key at once, one asks and all hear the answer.
        self._asked: dict[str, asyncio.Task[Caller | None]] = {}
        self._lookups = TokenBuckets(clock, per_s=LOOKUPS_PER_S, burst=LOOKUPS_BURST)

    def known(self, request: Incoming) -> Caller | None:
        """Name the caller where nobody need be asked. Raises `Problem` (`unauthenticated`)."""
        found = self._read(request)
        if isinstance(found, Caller):
            return found
        known, until = self._cached.get(found, (None, 0.0))
        return known if self._clock.monotonic_s() < until else None

    async def caller(self, request: Incoming) -> Caller:
        """Name the caller. Raises `Problem`: `unauthenticated`, or `rate_limited` for guessing."""
        found = self._read(request)
        return found if isinstance(found, Caller) else await self._stored(found, request.remote)

    def _read(self, request: Incoming) -> Caller | str:
        """The caller of a key of the sandbox's, or the digest of another key."""
        given = request.headers.getall("Authorization", [])
        match = _TOKEN.fullmatch(given[0]) if len(given) == 1 else None
        if match is None:
            raise _unauthenticated()
        fixed = self._fixed.get(match[1])
        if fixed is not None:
            return fixed
        # The sandbox's keys are public: no stored key can be one of them.
        if self._pepper is None or match[1].startswith(SANDBOX_PREFIX):
            raise _unauthenticated()
        return key_digest(self._pepper, match[1])

    async def _stored(self, digest: str, peer: str) -> Caller:
        known, until = self._cached.get(digest, (None, 0.0))
        if known is not None and self._clock.monotonic_s() < until:
            return known
        asked = self._asked.get(digest)
        if asked is not None:
            caller = await asyncio.shield(asked)
        elif known is not None:
            caller = await self._ask(digest)
        else:
            caller = await self._ask_for(digest, peer)
        if caller is None:
            raise _unauthenticated()
        return caller

    async def _ask_for(self, digest: str, peer: str) -> Caller | None:
        """Ask about a key that nobody has brought of late: it may be a guess."""
        wait_s = self._lookups.take(peer)
        if wait_s:
            detail = "Too many unknown API keys came from this address."
            raise Problem("rate_limited", detail, retry_after_s=math.ceil(wait_s))
        caller = await self._ask(digest)
        if caller is not None:
            # Only guesses are slowed down: after a restart a proxy brings every key there is.
            self._lookups.give_back(peer)
        return caller

    async def _ask(self, digest: str) -> Caller | None:
        task = asyncio.ensure_future(self._look_up(digest))
        self._asked[digest] = task
        task.add_done_callback(lambda _: self._asked.pop(digest))
        # Who goes away meanwhile takes the answer from nobody else.
        return await asyncio.shield(task)

    async def _look_up(self, digest: str) -> Caller | None:
        now = self._clock.monotonic_s()
        key = await self._find(digest)
        self._cached.pop(digest, None)
        if key is None or key.revoked_at_us is not None:
            return None
        caller = Caller(role=key.role, merchant=key.merchant, key_id=key.id)
        if len(self._cached) >= CACHED_MAX:
            # The oldest entry: a dictionary keeps the order in which they came.
            self._cached.pop(next(iter(self._cached)), None)
        self._cached[digest] = (caller, now + CACHE_S)
        return caller


Access = Literal["public", "merchant", "either", "operator", "metrics"]

ROLES: Final[Mapping[Access, tuple[Role, ...]]] = {
    "public": (),
    "merchant": ("merchant",),
    "either": ("merchant", "operator"),
    "operator": ("operator",),
    "metrics": ("metrics", "operator"),
}


def check_role(caller: Caller, access: Access) -> None:
    """Raise `Problem` (`forbidden`) where the caller's role does not open the route."""
    roles = ROLES[access]
    if caller.role not in roles:
        raise Problem("forbidden", f"This needs a key with the role {' or '.join(roles)}.")


def _unauthenticated() -> Problem:
    return Problem("unauthenticated", "Send a valid API key as Authorization: Bearer <key>.")
