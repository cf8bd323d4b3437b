"""Sends one webhook: to a judged address, with a deadline, following nothing, reading nothing.

The name is looked up anew for each attempt, on threads of its own, and aiohttp connects to the
very addresses that were judged (the name stays in SNI, certificate and Host). No connection is
kept: a name may lead elsewhere tomorrow. Of the reply only status and `Retry-After` count.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from paygate_actors.bounded_heads import bounded_connector
from paygate_actors.url_guard import UrlRefused, check_addresses, check_url

# The specification says 15 to 30 s: a receiver stores what it gets and answers.
SEND_S_MAX: Final = 15.0
# As many as there can be attempts at a time (`notice_post`), so that names whose servers hang keep
# nobody else's waiting. A thread is made when it is needed.
RESOLVER_THREADS: Final = 256
# For URLs that are only looked at, apart from those, so that nobody's webhooks wait for them: four
# at a time of a merchant (`url_checks`), and a look-up that hangs outlives its deadline twice.
CHECK_THREADS: Final = 32

Resolve = Callable[[str, int], list[str]]


class Answer(Struct, frozen=True, kw_only=True):
    """What came back: a status, or else why none did. `retry_after` is as it was said."""

    status: int | None = None
    error: str = ""
    retry_after: str | None = None


class Sender(Protocol):
    """The way out to receivers: real HTTP, or a simulated world."""

    async def check(self, url: str) -> str | None:
        """Why this URL is not called, as it is and stands now; None: it is."""
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post the body once. Never raises for what receivers do."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class HttpSender:
    """The `Sender` over aiohttp. `resolve(host, port)` gives the addresses of a name.

    `tls` says whose certificates are believed; by default the machine's own list.
    """

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        send_s_max: float = SEND_S_MAX,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._tls = tls
        self._allow_loopback = allow_loopback
        self._send_s_max = send_s_max
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, "paygate-receivers")
        self._resolver = _JudgedResolver(
            resolve or _resolve, self._threads, allow_loopback=allow_loopback
        )
        self._check_threads = ThreadPoolExecutor(CHECK_THREADS, "paygate-url-checks")
        self._checking = _JudgedResolver(
            resolve or _resolve, self._check_threads, allow_loopback=allow_loopback
        )
        self._session: aiohttp.ClientSession | None = None

    async def check(self, url: str) -> str | None:
        """Read the URL, look its name up, and judge what it stands for."""
        try:
            known = check_url(url, allow_loopback=self._allow_loopback)
            async with asyncio.timeout(self._send_s_max):
                await self._checking.resolve(known.raw_host or "", known.port or 0)
        except UrlRefused as refused:
            return str(refused)
        except _AddressRefused as refused:
            return str(refused.__cause__)
        except (OSError, TimeoutError):
            return "has a host name that cannot be looked up"
        return None

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post the body once, within the deadline, name look-up and handshake included."""
        try:
            known = check_url(url, allow_loopback=self._allow_loopback)
            async with self._opened().post(
                known, data=body, headers=headers, allow_redirects=False
            ) as response:
                # What it says beside is nobody's business, however long it is.
                response.close()
                return Answer(
                    status=response.status, retry_after=response.headers.get("Retry-After")
                )
        except UrlRefused:
            return Answer(error="url_refused")
        except TimeoutError:
            return Answer(error="timeout")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(error=_named(error))

    async def close(self) -> None:
        """Close the session; threads that still look something up end by themselves."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._check_threads.shutdown(wait=False, cancel_futures=True)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=bounded_connector(
                    resolver=self._resolver,
                    use_dns_cache=False,
                    force_close=True,
                    limit=0,  # the couriers count
                    ssl=self._tls,
                ),
                timeout=aiohttp.ClientTimeout(total=self._send_s_max),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "paygate"},
                auto_decompress=False,
                trust_env=False,  # a proxy would look the name up by itself
            )
        return self._session


class _AddressRefused(OSError):
    """What a name stands for is not called; an `OSError`, as aiohttp expects of a resolver."""


class _JudgedResolver(AbstractResolver):
    """Gives the addresses of a name where all of them may be called."""

    def __init__(
        self, resolve: Resolve, threads: ThreadPoolExecutor, *, allow_loopback: bool
    ) -> None:
        self._resolve = resolve
        self._threads = threads
        self._allow_loopback = allow_loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look the name up and judge the answer. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._resolve, host, port)
        try:
            check_addresses(found, allow_loopback=self._allow_loopback)
        except UrlRefused as refused:
            raise _AddressRefused("the address is not public") from refused
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held here."""


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))


def _named(error: BaseException) -> str:
    """One word for what went wrong on the way; nothing that a stranger worded."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, _AddressRefused):
            return "url_refused"
        cause = cause.__cause__
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return "not_found"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "not_connected"
    return "no_answer"
