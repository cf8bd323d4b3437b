"""`paygate sandbox`: the sandbox's providers in a process of their own."""

import asyncio
import sys
from pathlib import Path

from paygate_http.configure import ConfigInvalid
from paygate_http.configure_checks import is_loopback
from paygate_http.flags import SandboxFlags
from paygate_http.logs import configure_logs
from paygate_http.process import Ending, Exit, announce, forbid_core_dumps
from paygate_http.sandbox.fault_plan import read_file
from paygate_http.sandbox.faults import FaultSheet, FaultsRefused
from paygate_http.sandbox.server import start_sandbox


def sandbox(flags: SandboxFlags) -> Exit:
    """Run until told to end. Raises `ConfigInvalid`, `StoreRefused`, OSError."""
    if not is_loopback(flags.host):
        raise ConfigInvalid(f"--host: the sandbox serves loopback hosts only, not {flags.host}")
    numbers = {
        "--port": flags.port,
        "--latency-ms": flags.latency_ms,
        "--find-lag-ms": flags.find_lag_ms,
        "--void-window-s": flags.void_window_s,
    }
    if below := [f"{flag}: must not be negative" for flag, number in numbers.items() if number < 0]:
        raise ConfigInvalid(*below)
    sheet = _sheet(flags.faults)
    forbid_core_dumps()
    configure_logs("info")

    async def run() -> Exit:
        ending = Ending(asyncio.get_running_loop())
        if flags.until_eof:
            ending.follow(sys.stdin.fileno())
        running = await start_sandbox(
            host=flags.host,
            port=flags.port,
            data_dir=flags.data,
            seed=flags.seed,
            latency_ms=flags.latency_ms,
            find_lag_ms=flags.find_lag_ms,
            void_window_s=flags.void_window_s,
            gateway_url=flags.gateway,
            fault_sheet=sheet,
        )
        try:
            announce(f"paygate sandbox: listening on {running.url}")
            await ending.wait()
        finally:
            await running.stop()
        return Exit.DRAINED

    return asyncio.run(run())


def _sheet(path: Path | None) -> FaultSheet | None:
    if path is None:
        return None
    try:
        return read_file(path)
    except FaultsRefused as error:
        raise ConfigInvalid(f"--faults: {error}") from error
