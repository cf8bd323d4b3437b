"""Which URLs webhooks are sent to: the public internet alone, in whatever way it is spelt."""

import ipaddress

import pytest

from paygate_actors.url_guard import UrlRefused, check_addresses, check_url, may_call

PUBLIC = [
    "https://example.com/hook",
    "https://example.com",
    "https://hooks.shop.example.co.uk:8443/a/b?c=d",
    "https://EXAMPLE.com/Hook",
    "https://93.184.216.34/hook",
    "https://[2606:2800:220:1:248:1893:25c8:1946]/hook",
    "https://xn--bcher-kva.example/hook",
]
ODD = [
    "",
    "example.com/hook",
    "//example.com/hook",
    "ftp://example.com/hook",
    "file:///etc/passwd",
    "http://example.com/hook",
    "https:///hook",
    "https://",
    "https://user@example.com/hook",
    "https://user:secret@example.com/hook",
    "https://example.com@127.0.0.1/hook",
    "https://example.com/hook#fragment",
    "https://example.com/ho ok",
    "https://example.com/ho\tok",
    "https://example.com/\x00",
    "https://example.com\\@127.0.0.1/",
    "https://ex\u00e4mple.com/hook",
    "https://\u2460\u2461\u2466.0.0.1/",
    "https://example.com:0/hook",
    "https://example.com:22/hook",
    "https://example.com:25/hook",
    "https://example.com:80/hook",
    "https://example.com:99999/hook",
    "https://example.com:port/hook",
    "https://" + "a" * 64 + ".com/",
    "https://example.com/" + "a" * 2_048,
    "https://localhost/hook",
    "https://localhost./hook",
    "https://LOCALHOST/hook",
    "https://printer.local/hook",
    "https://metadata.google.internal/hook",
    "https://a.localhost/hook",
    "https://router.lan/hook",
    "https://intranet/hook",
    "https://example.com./hook",
    "https://exa_mple.com/hook",
    "https://-example.com/hook",
    "https://127.1/hook",
    "https://127.0.0.1/hook",
    "https://127.000.000.001/hook",
    "https://0x7f.1/hook",
    "https://0x7f000001/hook",
    "https://0177.0.0.1/hook",
    "https://2130706433/hook",
    "https://017700000001/hook",
    "https://127.0.0.1./hook",
    "https://0/hook",
    "https://0.0.0.0/hook",
    "https://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/hook",
    "https://[::1]/hook",
    "https://[::ffff:127.0.0.1]/hook",
    "https://[::ffff:7f00:1]/hook",
    "https://[64:ff9b::7f00:1]/hook",
    "https://[2002:7f00:1::]/hook",
    "https://[fd00::1]/hook",
    "https://[fe80::1]/hook",
    "https://[fe80::1%25eth0]/hook",
    "https://[::127.0.0.1]/hook",
]
CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:5db8:d822:0:0:80ff:fffe",
    "2001:0:a00:1:8000:63bf:f7f7:f7f7",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
]
OPEN = [
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
    "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
]


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_is_taken(url: str) -> None:
    assert check_url(url).scheme == "https"


@pytest.mark.parametrize("url", ODD)
def test_what_is_not_public_or_oddly_spelt_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        check_url(url)

    assert not url or url not in str(refused.value)


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_no_public_host_is_refused(address: str) -> None:
    with pytest.raises(UrlRefused):
        check_addresses([address])


@pytest.mark.parametrize("address", OPEN)
def test_an_address_of_a_public_host_is_called(address: str) -> None:
    check_addresses([address])


def test_one_closed_address_among_open_ones_closes_the_name() -> None:
    """A name that stands for both is a trap: which one is called would be up to chance."""
    with pytest.raises(UrlRefused):
        check_addresses(["1.1.1.1", "127.0.0.1"])
    with pytest.raises(UrlRefused):
        check_addresses([])


def test_what_python_takes_for_global_is_looked_into() -> None:
    """The form of 127.0.0.1 inside of an IPv6 address is found by its place, not by a flag."""
    for text in ("64:ff9b::7f00:1", "2002:7f00:1::"):
        assert not may_call(ipaddress.ip_address(text))


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254"])
def test_every_form_of_an_ipv4_address_is_judged_as_the_address_itself(address: str) -> None:
    inner = int(ipaddress.IPv4Address(address))
    forms = [
        ipaddress.IPv6Address((0xFFFF << 32) | inner),
        ipaddress.IPv6Address((0x64FF9B << 96) | inner),
        ipaddress.IPv6Address((0x2002 << 112) | (inner << 80)),
    ]

    judged = {may_call(form) for form in forms}

    assert judged == {may_call(ipaddress.ip_address(address))}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8123/hook",
        "http://localhost:8123/hook",
        "http://[::1]:8123/hook",
        "https://127.0.0.1/hook",
        "http://127.0.0.1:80/hook",
    ],
)
def test_the_sandbox_may_call_this_machine(url: str) -> None:
    check_url(url, allow_loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "http://10.0.0.1/hook",
        "https://169.254.169.254/hook",
        "http://127.1:8123/hook",
        "http://127.0.0.1:0/hook",
        "http://user@127.0.0.1/hook",
    ],
)
def test_and_nothing_else_beside(url: str) -> None:
    with pytest.raises(UrlRefused):
        check_url(url, allow_loopback=True)
