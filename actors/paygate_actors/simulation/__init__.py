"""The gateway in a simulated world: production code, virtual time, seeded faults, invariants."""
