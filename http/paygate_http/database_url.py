"""A PostgreSQL URL: whether it can be used, and how it is shown without what is secret in it.

Read more strictly than the driver reads it: what could be understood in two ways, a bare `@` or
`/` in a password above all, is refused, so that no half of a password is ever taken for the name
of a host, and shown.
"""

import re
from typing import Final

# User and password are percent-encoded; the hosts are picked apart below.
_URL = re.compile(
    r"postgres(?:ql)?://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::[^@/?#\s]*)?@)?"
    r"(?P<hosts>[^@/?#\s]*)"
    r"/(?P<name>[^@/?#\s]+)"
    r"(?:\?[a-z_]+=[^@&#\s]*(?:&[a-z_]+=[^@&#\s]*)*)?"
)
# A name or an IPv4 address, an IPv6 address in brackets, or the folder of a socket (%2Frun...).
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._%-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_PORT_MAX: Final = 65_535
# A primary and its standbys. Every one of them may be tried before a start, or a failover, is over.
HOSTS_MAX: Final = 16
UNREADABLE: Final = "(set)"


def fault_of_url(url: str) -> str | None:
    """What is wrong with the URL, as the end of a sentence that repeats nothing of it; or None."""
    if not url.startswith(("postgresql://", "postgres://")):
        return "must begin with postgresql:// or postgres://"
    match = _URL.fullmatch(url)
    if match is None:
        return (
            "must be postgresql://USER:PASSWORD@HOST:PORT/NAME; in a password, write @ as %40,"
            " / as %2F, ? as %3F, # as %23"
        )
    # No host at all is the socket of this machine, as everywhere with PostgreSQL.
    hosts = match["hosts"].split(",") if match["hosts"] else []
    if len(hosts) > HOSTS_MAX:
        return f"names more than {HOSTS_MAX} hosts"
    for host in hosts:
        found = _HOST.fullmatch(host)
        if found is None or not 1 <= int(found["port"] or 1) <= _PORT_MAX:
            return f"must have hosts as HOST or HOST:PORT, with a port from 1 to {_PORT_MAX}"
    return None


def shown_url(url: str) -> str:
    """The URL for people and logs: user, hosts and name; never a password, nor a parameter."""
    match = _URL.fullmatch(url)
    if match is None or fault_of_url(url) is not None:
        return UNREADABLE
    user = f"{match['user']}@" if match["user"] else ""
    return f"postgresql://{user}{match['hosts']}/{match['name']}"
