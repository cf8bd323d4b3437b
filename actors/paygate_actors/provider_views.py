"""A provider's circuits as operators see them."""

from paygate_actors.health import OPERATIONS, Health
from paygate_actors.provider_messages import CircuitView


def circuit_views(health: Health) -> tuple[CircuitView, ...]:
    """One for each operation, those that were never called too."""
    return tuple(
        CircuitView(
            operation=operation,
            circuit=health.circuits[operation].circuit,
            success_rate_milli=health.circuits[operation].success_rate_milli,
            slow_rate_milli=health.circuits[operation].slow_rate_milli,
            p99_ms=health.circuits[operation].p99_ms,
        )
        for operation in OPERATIONS
    )
