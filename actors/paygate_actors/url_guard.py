"""Which URLs of strangers we call: those that lead to the public internet, and nowhere else.

A merchant chooses where webhooks go, and could point them at our own network (SSRF). So: https
alone, no credentials and no odd spellings in the URL; every address that the name stands for must
be public, judged by the IPv4 address inside where it carries one (mapped, NAT64, 6to4, Teredo);
and whoever connects does so to an address that was judged, not to a name that is looked up again.

`ipaddress.is_global` is not asked: it takes NAT64 and 6to4 forms of 127.0.0.1 for public ones.
The sandbox may allow loopback, with plain http and any port there.
"""

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from yarl import URL

URL_CHARS_MAX: Final = 2_048
HTTPS_PORT: Final = 443
# Below stand the well-known ports of other protocols, which can be made to speak to a mail server.
FREE_PORTS_MIN: Final = 1_024

Address = IPv4Address | IPv6Address

_TEXT = re.compile(r"[!-\[\]-~]+")  # printable ASCII without the backslash
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_LOCAL_ENDS: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "arpa", "onion")

# IANA's special-purpose registries, and multicast: everything that is no public host.
_CLOSED_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
# Of IPv6 only this part is given out to hosts; what is special inside of it is closed again.
_OPEN_6: Final = IPv6Network("2000::/3")
_CLOSED_6: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")


class UrlRefused(Exception):
    """The URL is not called; the text says why, and repeats nothing of it."""


def check_url(text: str, *, allow_loopback: bool = False) -> URL:
    """Read a URL that webhooks may be sent to, as far as it can be judged without looking it up.

    Raises `UrlRefused`. An address in the place of a name is judged here.
    """
    if not 0 < len(text) <= URL_CHARS_MAX or _TEXT.fullmatch(text) is None:
        raise UrlRefused(f"must be 1 to {URL_CHARS_MAX} printable ASCII characters, no backslash")
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise UrlRefused("is not a URL") from error
    if url.scheme not in ("https", "http") or not host or port is None:
        raise UrlRefused("must be an absolute https URL")
    if "@" in url.raw_authority or "#" in text:
        raise UrlRefused("must have no user, password or fragment")
    inside = _judged_host(host, allow_loopback=allow_loopback)
    if url.scheme == "http" and not inside:
        raise UrlRefused("must be https")
    if not inside and port != HTTPS_PORT and port < FREE_PORTS_MIN:
        raise UrlRefused(f"must have the port {HTTPS_PORT}, or one from {FREE_PORTS_MIN} on")
    if port == 0:
        raise UrlRefused("must not have the port 0")
    return url


def check_addresses(found: list[str], *, allow_loopback: bool = False) -> None:
    """Judge every address that a name stands for. Raises `UrlRefused` where one is not public."""
    if not found:
        raise UrlRefused("stands for no address")
    for text in found:
        address = _read(text)
        if address is None or not may_call(address, allow_loopback=allow_loopback):
            raise UrlRefused("stands for an address that is not public")


def may_call(address: Address, *, allow_loopback: bool = False) -> bool:
    """Whether the address is a public one, or loopback where that is allowed."""
    if isinstance(address, IPv4Address):
        if allow_loopback and address.is_loopback:
            return True
        return not any(address in closed for closed in _CLOSED_4)
    if address.scope_id is not None:
        return False  # a link of this machine
    if allow_loopback and address.is_loopback:
        return True
    inner = _inner(address)
    if inner is not None:
        return all(may_call(each, allow_loopback=allow_loopback) for each in inner)
    return address in _OPEN_6 and not any(address in closed for closed in _CLOSED_6)


def _inner(address: IPv6Address) -> tuple[IPv4Address, ...] | None:
    """The IPv4 addresses that an IPv6 address carries, where it is only a form of them."""
    if address in _MAPPED or address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    if address in _6TO4:
        return (IPv4Address(int(address) >> 80 & 0xFFFF_FFFF),)
    if address in _TEREDO:
        server, client = int(address) >> 64 & 0xFFFF_FFFF, ~int(address) & 0xFFFF_FFFF
        return IPv4Address(server), IPv4Address(client)
    return None


def _judged_host(host: str, *, allow_loopback: bool) -> bool:
    """Whether the host is this machine, which is allowed; raises `UrlRefused` for what is not."""
    address = _read(host)
    if address is not None:
        if not may_call(address, allow_loopback=allow_loopback):
            raise UrlRefused("must not be an address that is not public")
        return not may_call(address)
    if allow_loopback and host == "localhost":
        return True
    name = host.lower()
    last = name.rpartition(".")[2]
    # 127.1, 0x7f.1, 2130706433: numbers that a resolver takes for addresses.
    if _NAME.fullmatch(name) is None or last[:1].isdigit():
        raise UrlRefused("must have a plain host name")
    if "." not in name or last in _LOCAL_ENDS:
        raise UrlRefused("must have a public host name")
    return False


def _read(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
