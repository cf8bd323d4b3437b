"""Where a provider's API is: the urls that a key and card numbers may be sent to."""

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def checked_url(url: str) -> str:
    """Give the url without its last slash. Raises `ValueError` for one that is not to be used."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a provider's url must be https://HOST[:PORT]")
    if parts.scheme == "http" and not is_here(url):
        raise ValueError("cards go over https alone; http is for a sandbox on this machine")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a provider's url must not carry a password: operators may see it")
    return url.rstrip("/")


def is_here(url: str) -> bool:
    """Tell whether the url leads to this machine, where no real provider is but a sandbox may."""
    return urlsplit(url).hostname in _LOOPBACK
