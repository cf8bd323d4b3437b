"""Whether a text is a URL that something can be sent to."""

from urllib.parse import urlsplit


def is_url(text: str) -> bool:
    """Whether the parts of the text can be told apart at all: brackets close, a port is one."""
    try:
        # The port is read when it is asked for, and not before.
        _ = urlsplit(text).port
    except ValueError:
        return False
    return True


def is_web_url(text: str) -> bool:
    """Whether it is a URL of http or https with a host."""
    if not is_url(text):
        return False
    parts = urlsplit(text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
