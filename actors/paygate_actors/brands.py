"""Card brands by the first digits of the number: a table.

The brand decides how long a CVV is and what a receipt shows; it never decides whether a number
is valid, because issuers' ranges move faster than releases.
"""

from typing import Literal, NamedTuple

Brand = Literal[
    "visa",
    "mastercard",
    "amex",
    "discover",
    "diners",
    "jcb",
    "unionpay",
    "maestro",
    "mir",
    "unknown",
]


class _Range(NamedTuple):
    """First digits from `low` to `high`, both included and of one length."""

    low: str
    high: str
    brand: Brand


_RANGES = (
    _Range("4", "4", "visa"),
    _Range("51", "55", "mastercard"),
    _Range("2221", "2720", "mastercard"),
    _Range("34", "34", "amex"),
    _Range("37", "37", "amex"),
    _Range("6011", "6011", "discover"),
    _Range("644", "649", "discover"),
    _Range("65", "65", "discover"),
    _Range("300", "305", "diners"),
    _Range("3095", "3095", "diners"),
    _Range("36", "36", "diners"),
    _Range("38", "39", "diners"),
    _Range("3528", "3589", "jcb"),
    _Range("62", "62", "unionpay"),
    _Range("81", "81", "unionpay"),
    _Range("50", "50", "maestro"),
    _Range("56", "58", "maestro"),
    _Range("639", "639", "maestro"),
    _Range("67", "67", "maestro"),
    _Range("2200", "2204", "mir"),
)

_NUMBER_LENGTHS: dict[Brand, frozenset[int]] = {
    "visa": frozenset({13, 16, 19}),
    "mastercard": frozenset({16}),
    "amex": frozenset({15}),
    "discover": frozenset({16, 19}),
    "diners": frozenset({14, 16, 19}),
    "jcb": frozenset(range(16, 20)),
    "unionpay": frozenset(range(16, 20)),
    "maestro": frozenset(range(13, 20)),
    "mir": frozenset(range(16, 20)),
    "unknown": frozenset(),
}

_BRANDS: dict[str, Brand] = {
    str(prefix): entry.brand
    for entry in _RANGES
    for prefix in range(int(entry.low), int(entry.high) + 1)
}

# Longest first: a range that was carved out of another's is found before it.
_PREFIX_LENGTHS = sorted({len(entry.low) for entry in _RANGES}, reverse=True)


def brand_of(number: str) -> Brand:
    """Name the brand of a number of plain digits; `unknown` where no range fits."""
    for length in _PREFIX_LENGTHS:
        brand = _BRANDS.get(number[:length])
        if brand is not None:
            return brand
    return "unknown"


def is_issued_shape(number: str) -> bool:
    """Tell whether a known brand issues numbers of these first digits and this length."""
    return len(number) in _NUMBER_LENGTHS[brand_of(number)]


def cvv_length(brand: Brand) -> int:
    """How many digits the brand's CVV has."""
    return 4 if brand == "amex" else 3
