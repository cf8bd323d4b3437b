"""An address of this machine where nobody listens."""

import socket


def closed_url() -> str:
    """Give the URL of a port that was free a moment ago."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"
