"""Who carries the sandbox's webhooks to the gateway: HTTP, or a caller in the same process."""

from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from paygate_http.sandbox.wire import ProviderId

# A slower gateway hears it again later.
SEND_TIMEOUT_S: Final = 5.0


class Carrier(Protocol):
    """Takes one attempt to the gateway, and says whether it was acknowledged. Raises nothing."""

    def start(self) -> None:
        """Make ready to carry."""
        ...

    async def stop(self) -> None:
        """Carry no more. Idempotent."""
        ...

    async def post(
        self, gateway_url: str, provider: ProviderId, body: bytes, headers: Mapping[str, str]
    ) -> bool:
        """Hand over the webhook."""
        ...


class HttpCarrier:
    """POSTs to the gateway's URL; follows no redirect."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Open the session, on the loop that runs now."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=SEND_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def stop(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(
        self, gateway_url: str, provider: ProviderId, body: bytes, headers: Mapping[str, str]
    ) -> bool:
        """POST it; only a 2xx within `SEND_TIMEOUT_S` counts."""
        assert self._session is not None, "start() comes first"  # a promise of ours
        url = f"{gateway_url}/api/webhooks/{provider}"
        # Our own gateway on this machine may serve a certificate that it signed itself.
        trusted = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, ssl=not trusted
            ) as response:
                return 200 <= response.status < 300  # noqa: PLR2004 - HTTP's own numbers
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
