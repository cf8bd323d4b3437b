"""PayPal's objects, rendered from the records: pure functions, one for each kind of object."""

from typing import Final

from paygate_http.sandbox.paypal_cards import response_code
from paygate_http.sandbox.paypal_money import amount_json
from paygate_http.sandbox.paypal_records import Order, RefundNote, Shown
from paygate_http.sandbox.records import Charge, Operation
from paygate_http.sandbox.wire import time_text

Json = dict[str, object]

_HOLD_STATUS: Final = {
    "pending": "PENDING",
    "authorized": "CREATED",
    "captured": "CAPTURED",
    "failed": "DENIED",
    "cancelled": "VOIDED",
}
_REFUND_STATUS: Final = {"succeeded": "COMPLETED", "pending": "PENDING", "failed": "FAILED"}
_AUTHENTICATION: Final = {"challenge": "Y", "frictionless": "Y", "attempted": "A"}
_APPROVED: Final = "0000"


class View:
    """One order with what the books know of it. `url`: where the sandbox is."""

    def __init__(
        self,
        order: Order,
        *,
        charge: Charge | None,
        paid: Operation | None,
        captured: Operation | None,
        refunds: list[tuple[RefundNote, Operation | None]],
        url: str,
    ) -> None:
        self.order = order
        self.charge = charge
        self._paid = paid
        self._captured = captured
        self._refunds = refunds
        self._url = url

    def order_json(self) -> Json:
        """Render the order."""
        order = self.order
        unit: Json = {
            "reference_id": "default",
            "amount": amount_json(order.amount_minor, order.currency),
            "payee": {"merchant_id": "PAYGATESANDBX"},
        }
        named = {
            "custom_id": order.custom_id,
            "invoice_id": order.invoice_id,
            "description": order.description,
        }
        unit |= {name: value for name, value in named.items() if value is not None}
        if self.charge is not None:
            unit["payments"] = self._payments()
        content: Json = {
            "id": order.id,
            "intent": order.intent,
            "status": order.state if self.charge is None else "COMPLETED",
            "purchase_units": [unit],
            "create_time": time_text(order.created_at_us),
            "links": self._links(),
        }
        if order.source is not None:
            content["payment_source"] = self._source(order.source)
        return content

    def capture_alone(self) -> Json:
        """Render the capture as it stands outside of its order: it says whose it is."""
        return {**self.capture_json(), "supplementary_data": self._related()}

    def hold_alone(self) -> Json:
        """Render the hold as it stands outside of its order: without the processor's words."""
        said = {**self.hold_json(), "supplementary_data": self._related()}
        said.pop("processor_response", None)
        return said

    def hold_json(self) -> Json:
        """Render the hold."""
        assert self.charge is not None, "a hold was charged"
        assert self._paid is not None, "a charge has its operation"
        return self._payment(
            "authorizations",
            self.order.payment_id,
            _HOLD_STATUS.get(self.charge.status, "PENDING"),
            self._paid.amount_minor,
            self._paid,
            invoice_id=self.order.invoice_id,
        )

    def capture_json(self) -> Json:
        """Render the capture: the order's own, or that of its hold."""
        order = self.order
        if order.intent == "CAPTURE" or self._captured is None:
            assert self._paid is not None, "a capture was charged"
            status = self._capture_status(self._paid)
            minor = self._paid.amount_minor
            return self._payment(
                "captures", order.payment_id, status, minor, self._paid, invoice_id=order.invoice_id
            ) | {"final_capture": True}
        return self._payment(
            "captures",
            order.capture_id,
            self._capture_status(self._captured),
            self._captured.amount_minor,
            self._captured,
            invoice_id=order.capture_invoice,
        ) | {"final_capture": True}

    def refund_json(self, note: RefundNote, operation: Operation | None) -> Json:
        """Render a refund; `operation` is None for one that PayPal made itself."""
        minor = operation.amount_minor if operation is not None else note.amount_minor
        status = _REFUND_STATUS.get(operation.status, "PENDING") if operation else "COMPLETED"
        content: Json = {
            "id": note.id,
            "status": status,
            "amount": amount_json(minor, self.order.currency),
            "create_time": time_text(note.created_at_us),
            "update_time": time_text(note.created_at_us),
            "links": [
                self._link("self", f"/v2/payments/refunds/{note.id}"),
                self._link("up", f"/v2/payments/captures/{self.captured_id}"),
            ],
        }
        named = {"custom_id": note.custom_id, "invoice_id": note.invoice_id}
        return content | {name: value for name, value in named.items() if value is not None}

    @property
    def captured_id(self) -> str:
        """The id of the capture that refunds are of."""
        return self.order.capture_id or self.order.payment_id

    def _related(self) -> Json:
        return {"related_ids": {"order_id": self.order.id}}

    def _payments(self) -> Json:
        payments: Json = {}
        if self.order.intent == "AUTHORIZE":
            payments["authorizations"] = [self.hold_json()]
            if self._captured is not None:
                payments["captures"] = [self.capture_json()]
        else:
            payments["captures"] = [self.capture_json()]
        if self._refunds:
            payments["refunds"] = [self.refund_json(*each) for each in self._refunds]
        return payments

    def _payment(
        self,
        kind: str,
        id_: str,
        status: str,
        minor: int,
        operation: Operation,
        *,
        invoice_id: str | None,
    ) -> Json:
        order = self.order
        content: Json = {
            "id": id_,
            "status": status,
            "amount": amount_json(minor, order.currency),
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "create_time": time_text(operation.created_at_us),
            "update_time": time_text(operation.created_at_us),
            "links": [
                self._link("self", f"/v2/payments/{kind}/{id_}"),
                self._link("up", f"/v2/checkout/orders/{order.id}"),
            ],
        }
        named = {"custom_id": order.custom_id, "invoice_id": invoice_id}
        content |= {name: value for name, value in named.items() if value is not None}
        if order.source is not None and order.source.kind == "card":
            failed = operation.status == "failed"
            code = response_code(operation.decline_code or "") if failed else _APPROVED
            content["processor_response"] = {"response_code": code}
        network_id = self.charge.network_txn_id if self.charge is not None else None
        if network_id is not None and operation.status == "succeeded":
            content["network_transaction_reference"] = {"id": network_id}
        return content

    def _capture_status(self, operation: Operation) -> str:
        if operation.status != "succeeded":
            return "DECLINED" if operation.status == "failed" else "PENDING"
        assert self.charge is not None, "it was charged"
        if not self.charge.refunded_minor:
            return "COMPLETED"
        whole = self.charge.refunded_minor >= self.charge.captured_minor
        return "REFUNDED" if whole else "PARTIALLY_REFUNDED"

    def _source(self, shown: Shown) -> Json:
        if shown.kind == "paypal":
            return {"paypal": {"account_status": "UNVERIFIED"}}
        card: Json = {"brand": shown.brand, "last_digits": shown.last4, "type": "CREDIT"}
        if shown.name is not None:
            card["name"] = shown.name
        said = self.charge.authentication if self.charge is not None else None
        status = _AUTHENTICATION.get(said or "")
        if self.order.failed:
            status = "N"
        if status is not None:
            card["authentication_result"] = {
                "liability_shift": "NO" if status == "N" else "POSSIBLE",
                "three_d_secure": {"authentication_status": status, "enrollment_status": "Y"},
            }
        return {"card": card}

    def _links(self) -> list[Json]:
        order = self.order
        links = [self._link("self", f"/v2/checkout/orders/{order.id}")]
        if self.charge is None and order.state == "PAYER_ACTION_REQUIRED":
            links.append(self._link("payer-action", f"/actions/{order.id}"))
        return links

    def _link(self, rel: str, path: str) -> Json:
        return {"href": self._url + path, "rel": rel, "method": "GET"}


def dispute_json(view: View, *, reason: str, now_us: int) -> Json:
    """Render the dispute about an order's capture."""
    order, charge = view.order, view.charge
    assert charge is not None, "a charge is disputed"
    is_open = charge.dispute == "open"
    transaction: Json = {"seller_transaction_id": view.captured_id}
    if order.custom_id is not None:
        transaction["custom"] = order.custom_id
    content: Json = {
        "dispute_id": f"PP-D-{order.id}",
        "create_time": time_text(now_us),
        "update_time": time_text(now_us),
        "disputed_transactions": [transaction],
        "reason": reason,
        "status": "UNDER_REVIEW" if is_open else "RESOLVED",
        "dispute_amount": amount_json(charge.disputed_minor, order.currency),
        "dispute_life_cycle_stage": "CHARGEBACK",
        "dispute_channel": "INTERNAL",
    }
    if not is_open:
        code = "RESOLVED_SELLER_FAVOUR" if charge.dispute == "won" else "RESOLVED_BUYER_FAVOUR"
        content["dispute_outcome"] = {"outcome_code": code}
    return content


def event_json(
    id_: str, type_: str, resource_type: str, resource: Json, *, now_us: int, url: str
) -> Json:
    """Render an event about a resource."""
    return {
        "id": id_,
        "event_version": "1.0",
        "create_time": time_text(now_us),
        "resource_type": resource_type,
        "resource_version": "2.0",
        "event_type": type_,
        "summary": type_.replace(".", " ").capitalize(),
        "resource": resource,
        "links": [
            {
                "href": f"{url}/v1/notifications/webhooks-events/{id_}",
                "rel": "self",
                "method": "GET",
            }
        ],
    }
