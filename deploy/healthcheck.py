"""Whether the gateway in this container answers `/healthz`: exit code 0 or 1. Argument: its port.

It speaks the scheme that the server speaks and does not look at the certificate, which names the
service and not the loopback. The standard library is all that it imports: it runs every ten
seconds.
"""

import http.client
import ssl
import sys

# The container's own time-out is 5 s; both schemes are tried within it.
ANSWER_S_MAX = 2.0


def is_up(port: int) -> bool:
    """Ask over HTTPS, and over HTTP where nobody speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for connection in (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=ANSWER_S_MAX, context=context),
        http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S_MAX),
    ):
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    sys.exit(not is_up(int(sys.argv[1])))
