"""Who is blocked and who is trusted: the configured lists, compiled once."""

import functools
import ipaddress
from collections.abc import Callable, Iterable
from typing import Literal

from paygate_actors.card import normalise_number
from paygate_actors.config import Fraud
from paygate_actors.messages import ScoreRequest

BlockFactor = Literal["blocked_card", "blocked_customer", "blocked_ip"]
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Reading an address takes 4 us, and the rules ask three times for each payment.
ADDRESSES_KEPT = 4_096

_FINGERPRINT_CHARACTERS = 64
_HEX = frozenset("0123456789abcdef")


class FraudLists:
    """The block and allow lists. `fingerprint` makes a card's keyed hash (`Vault.fingerprint`).

    Cards are numbers or, better, fingerprints. Customers are `merchant/customerID`, or a bare
    `customerID`, which means that customer of every merchant. IPs are addresses or networks.
    Raises `ValueError` that names the entry by its place, never by its value.
    """

    def __init__(self, config: Fraud, *, fingerprint: Callable[[str], str]) -> None:
        self._cards = frozenset(_fingerprints(config.block_cards, fingerprint))
        self._customers = frozenset(config.block_customers)
        self._trusted = frozenset(config.allow_customers)
        networks = _networks(config.block_ips)
        self._addresses = frozenset(
            network.network_address for network in networks if network.num_addresses == 1
        )
        self._networks = tuple(network for network in networks if network.num_addresses > 1)

    def blocks(self, request: ScoreRequest) -> list[BlockFactor]:
        """Name every list that the request is on. A wallet's or a bad card's number is on none."""
        found: list[BlockFactor] = []
        if request.fingerprint is not None and request.fingerprint in self._cards:
            found.append("blocked_card")
        if _names_customer(self._customers, request):
            found.append("blocked_customer")
        if request.customer_ip is not None and self._blocks_ip(request.customer_ip):
            found.append("blocked_ip")
        return found

    def trusts(self, request: ScoreRequest) -> bool:
        """Tell whether the customer is on the allow list."""
        return _names_customer(self._trusted, request)

    def _blocks_ip(self, text: str) -> bool:
        address = parse_ip(text)
        if address is None or not (self._addresses or self._networks):
            return False
        return address in self._addresses or any(address in network for network in self._networks)


@functools.lru_cache(maxsize=ADDRESSES_KEPT)
def parse_ip(text: str) -> _Address | None:
    """Read an IP address, an IPv4 one inside IPv6 as itself; None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _names_customer(entries: frozenset[str], request: ScoreRequest) -> bool:
    customer = request.customer_id
    if customer is None or not entries:
        return False
    return customer in entries or f"{request.merchant}/{customer}" in entries


def _fingerprints(entries: Iterable[str], fingerprint: Callable[[str], str]) -> Iterable[str]:
    for place, entry in enumerate(entries):
        number = normalise_number(entry)
        if number is not None:
            yield fingerprint(number)
        elif len(entry) == _FINGERPRINT_CHARACTERS and _HEX.issuperset(entry):
            yield entry
        else:
            raise ValueError(f"fraud.block_cards[{place}] is no card number and no fingerprint")


def _networks(entries: Iterable[str]) -> list[_Network]:
    networks: list[_Network] = []
    for place, entry in enumerate(entries):
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError as error:
            raise ValueError(f"fraud.block_ips[{place}] is no address and no network") from error
    return networks
