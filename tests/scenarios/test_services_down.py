"""What goes on when a service inside the house is down, or a webhook finds nobody."""

import asyncio
from pathlib import Path

from bank_rig import MERCHANT, BankRig, bank_rig, done
from many_nodes_rig import wanted
from structlog.testing import capture_logs

from paygate_actors.config import Fraud
from paygate_actors.guarding import OUTCOME_UNKNOWN
from paygate_actors.messages import FraudCheck, PaymentReply, RefundPayment
from paygate_actors.money import Money
from paygate_actors.providers.base import ProviderEvent


async def score_of(rig: BankRig, payment_id: str) -> FraudCheck:
    found = await rig.gateway.front.fraud_of(MERCHANT, "txn" + payment_id.removeprefix("pay"))
    assert isinstance(found, FraudCheck), found
    return found


async def test_without_the_fraud_actor_the_static_rules_decide_and_the_check_says_so(
    tmp_path: Path,
):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = done
        before = await rig.pay()
        fraud = rig.gateway.system.get("fraud")
        assert fraud is not None
        await fraud.stop(block=False)

        after = await rig.pay()

        await rig.until_status(after, "success")
        assert not (await score_of(rig, before)).static_only
        assert (await score_of(rig, after)).static_only


async def test_without_the_fraud_actor_the_block_list_still_holds(tmp_path: Path):
    blocked = Fraud(block_cards=("4242424242424242",))
    async with bank_rig(tmp_path, fraud=blocked) as rig:
        fraud = rig.gateway.system.get("fraud")
        assert fraud is not None
        await fraud.stop(block=False)

        payment_id = await rig.pay()

        view = await rig.view(payment_id)
        assert view.failure is not None
        assert (view.status, view.failure.code) == ("failed", "fraud_blocked")
        assert rig.bank.of("charge") == []


async def test_a_webhook_that_finds_no_payment_is_kept_counted_and_alerted(tmp_path: Path):
    event = ProviderEvent(
        event_id="evt_1",
        event_type="payment.succeeded",
        provider_txn_id="ch_of_nobody",
        amount=Money(100, "USD"),
    )
    async with bank_rig(tmp_path) as rig:
        await rig.gateway.inbox.take("bank", (event,))
        await rig.until(lambda: rig.gauge("paygate_webhooks_parked") == 1)

        with capture_logs() as logs:
            await rig.pass_time(800)
            early = [line for line in logs if line["event"] == "webhook_parked"]
            await rig.pass_time(200)

        late = [line for line in logs if line["event"] == "webhook_parked"]
        assert early == []
        assert late
        assert late[0]["log_level"] == "warning"
        assert rig.gauge("paygate_webhooks_parked_oldest_seconds") >= 900
        assert await rig.store.waiting("webhook")


async def test_a_parked_webhook_is_applied_after_a_restart_when_its_payment_appears(
    tmp_path: Path,
):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = None
        payment_id = await rig.pay()
        key = f"txn{payment_id.removeprefix('pay')}-1"
        event = ProviderEvent(
            event_id="evt_1",
            event_type="refund.succeeded",
            provider_txn_id="re_early",
            parent_txn_id=f"ch_{key}",
            amount=Money(100, "USD"),
        )
        await rig.gateway.inbox.take("bank", (event,))
        await rig.until(lambda: rig.gauge("paygate_webhooks_parked") == 1)
        await rig.crash()
        rig.bank.says["find"] = done

        await rig.start()
        await rig.until_asked()
        await rig.until_status(payment_id, "success")
        # No time passes: it is the payment's news that brings the event, and not the next sweep.
        await rig.until(lambda: rig.gauge("paygate_webhooks_parked") == 0)
        async with asyncio.timeout(10):
            while await rig.store.waiting("webhook"):  # noqa: ASYNC110  # each look is a question
                await asyncio.sleep(0)

        assert (await rig.view(payment_id)).amount_refunded_minor == 100


async def test_who_asks_while_a_commit_hangs_hears_within_seconds_that_it_is_not_known(
    tmp_path: Path,
):
    async with bank_rig(tmp_path) as rig:
        rig.bank.says["charge"] = done
        front = rig.gateway.front
        payment_id = await rig.pay()
        await rig.until_status(payment_id, "success")
        rig.store.flow.clear()
        command = RefundPayment(caller=MERCHANT, payment_id=payment_id)
        asking = [
            asyncio.create_task(front.process(wanted("key"))),
            asyncio.create_task(front.refund(command)),
        ]

        await rig.pass_time(6.0, step_s=0.5)
        heard = [each.result() for each in asking if each.done()]
        again = asyncio.create_task(front.process(wanted("key")))
        rig.store.flow.set()

        assert heard == [OUTCOME_UNKNOWN, OUTCOME_UNKNOWN]
        found = await again
        assert isinstance(found, PaymentReply)
        assert found.replayed, "it was done after all, and the key finds it"
        assert len(rig.bank.of("charge")) == 2
