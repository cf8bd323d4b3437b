"""The sandbox's own adapter with its socket replaced: what it sends is answered within the process.

Pool, adapter, deadlines, encoding and reading are those of any provider over HTTP; what is left out
is the client's and the provider's share. A call still gives its turn away once, as one that goes
out over a socket does.
"""

import asyncio
from collections.abc import Mapping
from typing import Literal

import msgspec
from made_requests import SECRET
from msgspec import Struct
from msgspec.structs import replace

from paygate_actors.config import ProviderConfig
from paygate_actors.providers.http_client import Answered, Exchange, HttpClient
from paygate_actors.providers.sandbox import SandboxProvider

ID = "instant"
CONFIG = ProviderConfig(id=ID, kind="sandbox", url="http://127.0.0.1:1")
# Longer than any bench runs.
PATIENCE_S = 3_600.0

Says = Literal["succeeded", "pending"]


class _Charge(Struct, rename="camel"):
    amount_minor: int
    currency: str
    capture: bool


class _Answer(Struct, rename="camel"):
    id: str
    operation: str
    status: Says
    amount_minor: int
    currency: str
    idempotency_key: str
    charge_id: str = msgspec.field(name="chargeID")
    captured: bool


class InstantClient(HttpClient):
    """Answers every charge at once, as the sandbox would: approved, or for ever pending."""

    def __init__(self, says: Says) -> None:
        super().__init__(CONFIG.url)
        self._says: Says = says
        self._decode = msgspec.json.Decoder(_Charge).decode
        self._encode = msgspec.json.Encoder().encode

    async def send(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Exchange:
        """Answer a charge. Nothing else is asked of it."""
        assert headers is not None
        assert body is not None
        await asyncio.sleep(0)
        charge = self._decode(body)
        key = headers["Idempotency-Key"]
        answer = _Answer(
            id=f"ch_{key}",
            operation="charge" if charge.capture else "authorize",
            status=self._says,
            amount_minor=charge.amount_minor,
            currency=charge.currency,
            idempotency_key=key,
            charge_id=f"ch_{key}",
            captured=charge.capture and self._says == "succeeded",
        )
        return Answered(status=200, body=self._encode(answer))


def instant(says: Says = "succeeded", *, of: str = ID) -> SandboxProvider:
    """The provider with this id; its webhooks are read and verified as the sandbox's."""
    provider = SandboxProvider(
        id=of, name="Instant", url=CONFIG.url, webhook_secret=SECRET, client=InstantClient(says)
    )
    if says == "pending":
        # What is pending is asked about now and then; here it is to lie still.
        patient = replace(provider.capabilities, ask_first_s=PATIENCE_S, ask_max_s=PATIENCE_S)
        provider.capabilities = patient
    return provider
