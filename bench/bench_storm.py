"""A storm of webhooks: 10,000 events as fast as 64 connections carry them, a tenth of them twice.

Each event is a refund that the provider made by itself, shuffled among the payments, signed, and
answered 200 once it is on disk or 503 with a time to come back; what is applied is counted at the
payments in the end, and must be every event, once. Payments are read at a steady pace meanwhile.

What is compared is the server's CPU time for an event beside a bare aiohttp handler that checks
the same signature and decodes the same body, in rounds that are interleaved. Memory is the growth
of the server's high-water mark over the storm.
"""

import asyncio
import statistics
import sys
from pathlib import Path

from msgspec import Struct

HERE = Path(__file__).parent
# A script finds what lies beside it, and `pytest` what tests share; each needs the other as well.
sys.path += [str(HERE), str(HERE.parent / "tests" / "conformance")]

from measured_server import MeasuredServer, serving  # noqa: E402  # see above
from storm_rig import Charge, Heard, Storm, make_charges  # noqa: E402  # see above

SERVERS = HERE / "storm_servers.py"
KEY = "sk_sandbox_merchant_a"
PROVIDER = "storm"
# Public: the sandbox's own.
SECRET = "whsec_cGF5Z2F0ZS1zYW5kYm94LXdlYmhvb2stc2VjcmV0"
EVENTS = 10_000
PAYMENTS = 500
ROUNDS = 3
MIB = 1024


class Round(Struct, frozen=True, kw_only=True):
    """One storm at one server. Times in the units of their names; memory in KiB."""

    heard: Heard
    cpu_us: float
    applied_s: float = 0.0
    grown_kib: int = 0


def storm_of(charges: list[Charge], events: int, seed: int) -> Storm:
    """The same storm for every server."""
    return Storm(charges, events=events, seed=seed, secret=SECRET, provider=PROVIDER)


def at_gateway(events: int, payments: int, seed: int) -> Round:
    """Blow at a fresh gateway, and hold the payments against what was sent."""

    async def blow(server: MeasuredServer) -> Round:
        charges = await make_charges(server.url, KEY, payments)
        storm = storm_of(charges, events, seed)
        peak_kib, cpu_s = server.peak_kib(), server.cpu_s()
        heard = await storm.blow(server.url, key=KEY)
        applied_s = await storm.settled(server.url, KEY)
        used_s = server.cpu_s() - cpu_s
        return Round(
            heard=heard,
            cpu_us=1e6 * used_s / events,
            applied_s=applied_s,
            grown_kib=server.peak_kib() - peak_kib,
        )

    with serving(SERVERS, "gateway") as server:
        return asyncio.run(blow(server))


def at_yardstick(events: int, seed: int) -> Round:
    """Blow at the bare handler."""
    charges = [Charge(payment_id=f"p{n}", charge_id=f"ch_{n}") for n in range(10)]
    with serving(SERVERS, "yardstick") as server:
        cpu_s = server.cpu_s()
        heard = asyncio.run(storm_of(charges, events, seed).blow(server.url))
        return Round(heard=heard, cpu_us=1e6 * (server.cpu_s() - cpu_s) / events)


def check(round_: Round, events: int) -> None:
    """What must hold whatever the machine does."""
    heard = round_.heard
    assert set(heard.statuses) <= {200, 503}, heard
    assert heard.without_retry_after == 0, heard
    assert heard.statuses[200] >= events, heard


def main() -> None:
    """Print the table."""
    rounds: list[tuple[Round, Round]] = []
    for seed in range(ROUNDS):
        base, ours = at_yardstick(EVENTS, seed), at_gateway(EVENTS, PAYMENTS, seed)
        check(ours, EVENTS)
        rounds.append((base, ours))
    print(f"{EVENTS} events about {PAYMENTS} payments, {ROUNDS} rounds")
    titles = ("us CPU", "events/s", "503", "applied s", "read p50", "read p99", "MiB grown")
    print(f"{'':<10} " + " ".join(f"{title:>9}" for title in titles))
    for name, of in (
        ("yardstick", [one for one, _ in rounds]),
        ("gateway", [b for _, b in rounds]),
    ):
        print(
            f"{name:<10} {statistics.median(each.cpu_us for each in of):>9.0f}"
            f" {statistics.median(EVENTS / each.heard.seconds for each in of):>9.0f}"
            f" {max(each.heard.statuses.get(503, 0) for each in of):>9}"
            f" {statistics.median(each.applied_s for each in of):>9.1f}"
            f" {statistics.median(each.heard.read_p50_ms for each in of):>9.1f}"
            f" {statistics.median(each.heard.read_p99_ms for each in of):>9.1f}"
            f" {max(each.grown_kib for each in of) / MIB:>9.0f}"
        )
    ratio = statistics.median(base.cpu_us / ours.cpu_us for base, ours in rounds)
    print(f"of the yardstick's speed is left: {ratio:.3f}")


def test_a_small_storm_is_absorbed_and_applied_once_each() -> None:
    """At this size the figures are noise; what must hold is asserted."""
    ours = at_gateway(events=200, payments=10, seed=1)

    check(ours, 200)
    assert ours.heard.reads > 0


if __name__ == "__main__":
    main()
