"""The stage of an adapter whose provider is the sandbox: what goes wrong there is its faults."""

from provider_suite import Effect
from sandbox_rig import APPROVED, CONFIRM, Rig
from stranger_rig import free_url

from paygate_actors.providers.base import Provider, TwoStepProvider
from paygate_engine.clock import ManualClock

DECLINED = "4000000000000002"


class StageAtSandbox:
    """What the stages of all adapters share; the rest of a `Stage` is each adapter's own."""

    approved_number = APPROVED
    declined_number = DECLINED
    confirm_number = CONFIRM

    def __init__(self, rig: Rig, clock: ManualClock, provider: Provider) -> None:
        self.rig = rig
        self.clock = clock
        self.provider = provider
        self.closed = free_url()

    async def effects(self) -> list[Effect]:
        return await self.rig.effects()

    async def lose_next_request(self) -> None:
        await self.rig.fault("reset_before_effect")

    async def lose_next_answer(self) -> None:
        await self.rig.fault("reset_after_effect")

    async def hang_next_answer(self) -> None:
        await self.rig.fault("hang_after_effect", delayMs=30_000)

    async def fail_next(self) -> None:
        await self.rig.fault("error_500")

    async def garble_next(self) -> None:
        await self.rig.fault("garbage")

    async def defer_next(self) -> None:
        await self.rig.fault("pending", delayMs=60_000)

    def now_us(self) -> int:
        return self.clock.now_us()


class TwoStepsAtSandbox(StageAtSandbox):
    """The same for adapters whose charge is prepared first."""

    def __init__(self, rig: Rig, clock: ManualClock, provider: TwoStepProvider) -> None:
        super().__init__(rig, clock, provider)
        self.two_steps = provider

    async def lose_next_preparation(self) -> None:
        await self.rig.fault("reset_after_effect", operation="prepare")
