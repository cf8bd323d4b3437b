"""What a payment costs through the HTTP edge: CPU of the server, beside a bare aiohttp handler.

Each server is a process of its own (`http_servers.py`); the load is a closed loop of keep-alive
connections in this process. What is compared is the server's CPU time for a request (all its
threads, by the kernel's account), because the wall clock of a shared machine is noise; rounds of
the servers are interleaved and the ratio is the median of the rounds' ratios.

`accept`: everything on, a provider inside the process that answers at once. `sandbox`: the
provider is called over HTTP and answers without delay; the sandbox runs in the same process, so
its cost is in the figure.
"""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

HERE = Path(__file__).parent
# A script finds what lies beside it; `pytest` does not.
sys.path.append(str(HERE))

from measured_server import MeasuredServer, serving  # noqa: E402  # see above

SERVERS = ("yardstick", "accept", "sandbox")
CONNECTIONS = 32
REQUESTS = 3_000
ROUNDS = 5
# Who pays more than twenty times is blocked as too quick, and his payment costs nothing any more.
CUSTOMERS = 100_000
# A closed loop on a noisy machine: a reply that takes longer is a failure, not a figure.
REPLY_S_MAX = 30.0


class Round(Struct, frozen=True, kw_only=True):
    """One server, one round: CPU microseconds a request, requests a second, p50 and p99 in ms."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float


async def load(server: MeasuredServer, requests: int, connections: int) -> Round:
    """Send that many payments, each a new one, and wait for all the answers."""
    numbers = iter(range(requests))
    latencies: list[float] = []
    began, cpu = time.perf_counter(), server.cpu_s()
    await asyncio.gather(*(pay(server.port, numbers, latencies) for _ in range(connections)))
    seconds = time.perf_counter() - began
    assert len(latencies) == requests
    latencies.sort()
    return Round(
        cpu_us=1e6 * (server.cpu_s() - cpu) / requests,
        rate=requests / seconds,
        p50_ms=1e3 * latencies[len(latencies) // 2],
        p99_ms=1e3 * latencies[len(latencies) * 99 // 100],
    )


async def pay(port: int, numbers: Iterator[int], latencies: list[float]) -> None:
    """Send a payment for each number that is left, one after another; adds seconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in numbers:
        began = time.perf_counter()
        writer.write(_request())
        async with asyncio.timeout(REPLY_S_MAX):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            body = await reader.readexactly(length)
        assert head.startswith(b"HTTP/1.1 201"), (head, body)
        latencies.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()


_sent = 0


def _request() -> bytes:
    global _sent  # noqa: PLW0603  # every payment of the process is another one
    _sent += 1
    body = (
        b'{"amount":100.00,"currency":"USD","paymentMethod":{"type":"card","cardNumber":'
        b'"4242424242424242","expiryMonth":12,"expiryYear":2049,"cvv":"123"},'
        b'"metadata":{"orderID":"order-%d","customerID":"customer-%d"}}'
        % (_sent, _sent % CUSTOMERS)
    )
    return (
        b"POST /api/payments/process HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Authorization: Bearer sk_sandbox_merchant_a\r\nContent-Type: application/json\r\n"
        b"Idempotency-Key: key-%d-%d\r\nContent-Length: %d\r\n\r\n%b"
        % (os.getpid(), _sent, len(body), body)
    )


def measure(requests: int, rounds: int, connections: int) -> dict[str, list[Round]]:
    """Rounds of every server, interleaved: yardstick, accept, sandbox, yardstick, ..."""
    found: dict[str, list[Round]] = {name: [] for name in SERVERS}
    script = HERE / "http_servers.py"
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(script, mode)) for mode in SERVERS]
        for server in servers:
            asyncio.run(load(server, max(connections, requests // 10), connections))
        for _ in range(rounds):
            for server in servers:
                found[server.mode].append(asyncio.run(load(server, requests, connections)))
    return found


def ratio(found: dict[str, list[Round]], name: str) -> float:
    """How much of the yardstick's speed is left: the median of the rounds' CPU ratios."""
    pairs = zip(found["yardstick"], found[name], strict=True)
    return statistics.median(base.cpu_us / ours.cpu_us for base, ours in pairs)


def main() -> None:
    """Print the table."""
    found = measure(REQUESTS, ROUNDS, CONNECTIONS)
    print(f"{REQUESTS} payments a round, {ROUNDS} rounds, {CONNECTIONS} connections")
    titles = ("us CPU", "min", "max", "req/s", "p50 ms", "p99 ms", "ratio")
    print(f"{'':<10} " + " ".join(f"{title:>7}" for title in titles))
    for name, rounds in found.items():
        cpu = sorted(each.cpu_us for each in rounds)
        print(
            f"{name:<10} {statistics.median(cpu):>7.1f} {cpu[0]:>7.1f} {cpu[-1]:>7.1f}"
            f" {statistics.median(each.rate for each in rounds):>7.0f}"
            f" {statistics.median(each.p50_ms for each in rounds):>7.1f}"
            f" {statistics.median(each.p99_ms for each in rounds):>7.1f}"
            f" {ratio(found, name):>7.2f}"
        )


def test_the_whole_path_answers_every_payment_of_the_load() -> None:
    found = measure(requests=200, rounds=1, connections=8)

    assert set(found) == set(SERVERS)
    assert all(len(rounds) == 1 for rounds in found.values())
    # No floor on speed here: at this size the figure is noise. It must only be a figure.
    assert 0 < ratio(found, "accept") < 2


if __name__ == "__main__":
    main()
