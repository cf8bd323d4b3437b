"""A port that several processes of ours listen on: chosen and kept by their parent.

The parent's socket is bound with SO_REUSEPORT and never listens, so the kernel gives it no
connection; but as long as it is there nobody else can have the port, also while every child is
being started again. The option lets in whoever has it and is the same user. Another gateway would
be one of those, and callers would be dealt out between two gateways: so it is first tried whether
the port can be had without it.
"""

import errno
import socket
from typing import Any

from paygate_http.doors import bound


async def hold_port(host: str, port: int) -> socket.socket:
    """Keep a port for children to share; 0: a free one. Raises OSError where it is taken."""
    with await bound(host, port) as alone:
        family, address = alone.family, alone.getsockname()
    try:
        return _held(family, address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    # Connections of a server that was alone there have not died away. The option that makes nothing
    # of them also lets others bind until a child listens, so it is not the first choice.
    return _held(family, address, reuse=True)


def _held(family: socket.AddressFamily, address: Any, *, reuse: bool = False) -> socket.socket:
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            # As the children's own sockets are: they must not be taken for an IPv4 one.
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except BaseException:
        held.close()
        raise
    return held
