"""The certificates that PayPal signs its webhooks with: fetched, held against roots, kept.

The header that names a certificate comes from anybody, so it is held against one pattern: https,
one of PayPal's own hosts, the path of its certificates, nothing else. Nobody leads us elsewhere.
What was fetched is trusted only once its chain ends at a root, for a name of PayPal's.
"""

import asyncio
import re
import ssl
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from msgspec import Struct

from paygate_actors.providers.base import KeysUnavailable, SignatureInvalid
from paygate_actors.providers.http_client import Answered, HttpClient

PATH: Final = "/v1/notifications/certs/"
ROOTS_PATH: Final = "/v1/notifications/roots"
"""Where a sandbox on this machine serves the root that it made at its start; PayPal has none."""

LIVE_HOSTS: Final = ("api.paypal.com", "api-m.paypal.com")
TEST_HOSTS: Final = ("api.sandbox.paypal.com", "api-m.sandbox.paypal.com")
LIVE_NAMES: Final = ".paypal.com"
LOCAL_NAMES: Final = ".localhost"

# PayPal changes its certificate about once a year, and announces two at a time.
KEPT_MAX: Final = 8
CHAIN_MAX: Final = 6
# A chain of three is 6 KiB.
BYTES_MAX: Final = 64 * 1024
FETCH_S: Final = 5.0
# Anybody can name certificates that do not exist: more than this a minute are not asked for. What
# was trusted before is counted apart, so that nobody's inventions stand in its way.
FETCHES_A_MINUTE_MAX: Final = 10
# Webhooks that wait for certificates nobody knows yet, each with its body in memory: 4 MiB.
STRANGERS_MAX: Final = 64

_MINUTE_S: Final = 60.0
_OK: Final = 200
_NAME: Final = r"CERT-[A-Za-z0-9-]{1,100}"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_URL_CHARS_MAX: Final = 500


class _Chain(Struct, frozen=True):
    leaf: x509.Certificate
    others: tuple[x509.Certificate, ...]


class _Trusted(Struct, frozen=True):
    key: RSAPublicKey
    from_us: int
    until_us: int


class _Turn:
    """Fetches of one kind: one at a time, and so many a minute."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._at_s: list[float] = []

    def count(self) -> None:
        """Count one more. Raises `KeysUnavailable` where that is one too many."""
        now_s = asyncio.get_running_loop().time()
        self._at_s = [each for each in self._at_s if now_s - each < _MINUTE_S]
        if len(self._at_s) >= FETCHES_A_MINUTE_MAX:
            raise KeysUnavailable("too many certificates were asked for within a minute")
        self._at_s.append(now_s)


class Certificates:
    """Keeps the certificates of one PayPal. `origins`: `https://HOST` of each that serves them.

    `names` is what the certificates' names end with. `system_roots` gives the roots, once; None:
    whoever serves the certificates serves the root as well, which only a sandbox here may.
    `client` is the way to all of them: a simulator's, or by default one of its own for each.
    """

    def __init__(
        self,
        origins: Sequence[str],
        *,
        names: str,
        roots: Callable[[], list[x509.Certificate]] | None,
        client: HttpClient | None = None,
    ) -> None:
        pattern = "|".join(re.escape(each) for each in origins)
        self._pattern = re.compile(rf"({pattern})({re.escape(PATH)}{_NAME})")
        self._names = names
        self._system_roots = roots
        self._roots: list[x509.Certificate] = []
        self._clients: dict[str, HttpClient] = {}
        if client is not None:
            self._clients = dict.fromkeys(origins, client)
        self._chains: dict[str, _Chain] = {}
        self._trusted: dict[str, _Trusted] = {}
        self._known: dict[str, None] = {}
        self._of_known = _Turn()
        self._of_strangers = _Turn()
        self._strangers = 0

    @property
    def known(self) -> tuple[str, ...]:
        """The urls of the certificates that were trusted, at most `KEPT_MAX`; the newest last."""
        return tuple(self._known)

    def know(self, urls: Iterable[str]) -> None:
        """Take these for trusted before: they are fetched although anybody's are not any more."""
        for url in urls:
            if len(url) <= _URL_CHARS_MAX and self._pattern.fullmatch(url):
                self._known[url] = None
        while len(self._known) > KEPT_MAX:
            del self._known[next(iter(self._known))]

    async def fetch(self, url: str) -> None:
        """See to it that the certificate is here.

        Raises `SignatureInvalid` for a url that PayPal has none at, `KeysUnavailable` where it
        could not be fetched now.
        """
        place = self._pattern.fullmatch(url) if len(url) <= _URL_CHARS_MAX else None
        if place is None:
            raise SignatureInvalid("the certificate is not at a place of PayPal's")
        if self._has(url):
            return
        if url in self._known:
            await self._fetch(url, place, self._of_known)
            return
        if self._strangers >= STRANGERS_MAX:
            raise KeysUnavailable("too many wait for certificates that nobody knows")
        self._strangers += 1
        try:
            await self._fetch(url, place, self._of_strangers)
        finally:
            self._strangers -= 1

    def key(self, url: str, *, now_us: int) -> RSAPublicKey:
        """Give the key of a certificate that is here and valid now. Raises `SignatureInvalid`."""
        trusted = self._trusted.get(url)
        if trusted is None or not trusted.from_us <= now_us <= trusted.until_us:
            try:
                trusted = self._trust(url, now_us)
            except SignatureInvalid:
                # What came may have been another's answer: it is fetched anew for the next one.
                self._chains.pop(url, None)
                raise
        return trusted.key

    async def close(self) -> None:
        """Give the connections back. Idempotent."""
        for client in self._clients.values():
            await client.close()

    def _has(self, url: str) -> bool:
        return url in self._chains or url in self._trusted

    async def _fetch(self, url: str, place: re.Match[str], turn: _Turn) -> None:
        async with turn.lock:
            if self._has(url):
                return
            turn.count()
            if self._system_roots is None:
                self._roots = _read_chain(await self._get(place[1], ROOTS_PATH))
            elif not self._roots:
                self._roots = self._system_roots()
            if not self._roots:
                raise KeysUnavailable("there are no roots that a certificate could be held against")
            leaf, *others = _read_chain(await self._get(place[1], place[2]))
            while len(self._chains) >= KEPT_MAX:
                del self._chains[next(iter(self._chains))]
            self._chains[url] = _Chain(leaf, tuple(others))

    async def _get(self, origin: str, path: str) -> bytes:
        client = self._clients.get(origin)
        if client is None:
            client = HttpClient(origin, connections_max=2, answer_bytes_max=BYTES_MAX)
            self._clients[origin] = client
        exchange = await client.send("GET", path, deadline_s=FETCH_S)
        if not isinstance(exchange, Answered):
            raise KeysUnavailable("the certificate could not be fetched")
        if exchange.status != _OK:
            raise KeysUnavailable(f"the certificate could not be fetched: HTTP {exchange.status}")
        return exchange.body

    def _trust(self, url: str, now_us: int) -> _Trusted:
        chain = self._chains.get(url)
        if chain is None:
            raise SignatureInvalid("the certificate is not here")
        now = (_EPOCH + timedelta(microseconds=now_us)).replace(tzinfo=None)
        policy = PolicyBuilder().store(Store(self._roots)).time(now)
        name = _name_of(chain.leaf, self._names)
        try:
            verifier = policy.build_server_verifier(x509.DNSName(name))
            verifier.verify(chain.leaf, list(chain.others))
        except (VerificationError, ValueError) as error:
            raise SignatureInvalid("the certificate is not one of PayPal's, or not now") from error
        key = chain.leaf.public_key()
        if not isinstance(key, RSAPublicKey):
            raise SignatureInvalid("the certificate holds no RSA key")
        trusted = _Trusted(
            key=key,
            from_us=(chain.leaf.not_valid_before_utc - _EPOCH) // timedelta(microseconds=1),
            until_us=(chain.leaf.not_valid_after_utc - _EPOCH) // timedelta(microseconds=1),
        )
        # Kept apart from what anybody had fetched, so that nobody pushes it out.
        while len(self._trusted) >= KEPT_MAX:
            del self._trusted[next(iter(self._trusted))]
        self._trusted[url] = trusted
        self.know([url])
        return trusted


def certificates_of(url: str, *, here: bool) -> Certificates:
    """Give what keeps the certificates of the PayPal at this url; `here`: a sandbox's."""
    if here:
        return Certificates([url], names=LOCAL_NAMES, roots=None)
    hosts = TEST_HOSTS if ".sandbox." in url else LIVE_HOSTS
    return Certificates([f"https://{host}" for host in hosts], names=LIVE_NAMES, roots=system_roots)


def system_roots() -> list[x509.Certificate]:
    """Give the roots that this machine trusts."""
    found: list[x509.Certificate] = []
    with warnings.catch_warnings():
        # Some old roots have numbers that newer rules forbid; none of them is PayPal's.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        found += _parsed()
    return found


def _parsed() -> Iterator[x509.Certificate]:
    for der in ssl.create_default_context().get_ca_certs(binary_form=True):
        try:
            yield x509.load_der_x509_certificate(der)
        except ValueError:
            continue  # the same, where they are refused at last


def _read_chain(pem: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise KeysUnavailable("what was fetched is no certificate") from error
    if not 1 <= len(found) <= CHAIN_MAX:
        raise KeysUnavailable("what was fetched is no chain of certificates")
    return found


def _name_of(leaf: x509.Certificate, names: str) -> str:
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise SignatureInvalid("the certificate names nobody") from error
    for name in alternative.value.get_values_for_type(x509.DNSName):
        if name.endswith(names):
            # A name with a star is nobody's: it is held against one that it stands for.
            return name.replace("*", "messageverificationcerts", 1)
    raise SignatureInvalid("the certificate is somebody else's")
