"""API keys made, listed and revoked: shown once when made, kept as a keyed digest alone."""

import base64
import random
import secrets

import msgspec
from msgspec import Struct

from paygate_actors.config import Config
from paygate_actors.front_protocol import Front
from paygate_actors.messages import ApiKey, Caller, Role
from paygate_engine.clock import SystemClock
from paygate_engine.ids import Ids
from paygate_http.auth import key_digest
from paygate_http.process import Refused

# Whoever may use the machine's data folder made the change; the audit names it so.
_CONSOLE = Caller(role="operator", merchant="", key_id="console")
# As much as the digest has: guessing the one is as hopeless as guessing the other.
_KEY_BYTES = 32


class NewKey(Struct, frozen=True, kw_only=True):
    """What is asked for. Only a merchant's key has a merchant."""

    role: Role
    merchant: str = ""
    label: str = ""


class MadeKey(Struct, frozen=True, kw_only=True):
    """The answer: `secret` is the key itself, which nobody can be shown again."""

    key: ApiKey
    secret: str


class KeyRefused(Refused):
    """It was not done; the text says why."""


class KeyDesk:
    """What `paygate keys` asks for, whether in the server or beside it."""

    def __init__(self, front: Front, config: Config) -> None:
        self._front = front
        self._pepper = config.api_key_pepper
        self._prefix = "sk_test_" if config.sandbox.enabled else "sk_live_"
        self._clock = SystemClock()
        self._ids = Ids(self._clock, random.SystemRandom())

    async def create(self, new: NewKey) -> MadeKey:
        """Make and store a key. Raises `KeyRefused`."""
        if self._pepper is None:
            raise KeyRefused("api_key_pepper: is not configured, and keys are stored under it")
        if (new.role == "merchant") != bool(new.merchant):
            raise KeyRefused("a merchant's key needs --merchant, and no other key has one")
        secret = self._prefix + secrets.token_urlsafe(_KEY_BYTES)
        key = ApiKey(
            id=self._ids.new("key"),
            role=new.role,
            merchant=new.merchant,
            digest=key_digest(base64.b64decode(self._pepper), secret),
            created_at_us=self._clock.now_us(),
            label=new.label,
        )
        await self._front.put_key(_CONSOLE, key)
        return MadeKey(key=key, secret=secret)

    async def list(self) -> tuple[ApiKey, ...]:
        """Give all keys, newest first, revoked ones too."""
        return await self._front.keys()

    async def revoke(self, key_id: str) -> ApiKey:
        """Revoke a key; one that is revoked stays as it is. Raises `KeyRefused`."""
        for key in await self._front.keys():
            if key.id == key_id:
                break
        else:
            raise KeyRefused(f"there is no key {key_id}")
        if key.revoked_at_us is None:
            key = msgspec.structs.replace(key, revoked_at_us=self._clock.now_us())
            await self._front.put_key(_CONSOLE, key)
        return key
