"""Tells a sandbox where its webhooks go."""

import aiohttp

# The sandbox is on this machine.
_REGISTER_S_MAX = 5.0


async def register(sandbox: str, gateway: str) -> None:
    """Have the sandbox at one URL send to the gateway at the other. Raises aiohttp's errors."""
    timeout = aiohttp.ClientTimeout(total=_REGISTER_S_MAX)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
        session.post(f"{sandbox}/gateway", json={"url": gateway}) as answer,
    ):
        answer.raise_for_status()
