"""Writes the API's document (OpenAPI 3.1) from the same Structs that decode and encode.

What a route answers is in the table of routes; what a body may hold is in its Struct. Nothing is
written twice, so nothing can rot.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from paygate_http.bodies import CARD_TYPES, REQUIRED, PaymentMethodBody
from paygate_http.incoming import BODY_BYTES_MAX
from paygate_http.problems import CONTENT_TYPE, KINDS, ProblemCode, ProblemReply
from paygate_http.route import JSON, Parameter, Route

_REF: Final = "#/components/schemas/{name}"
_PATH_NAME = re.compile(r"\{(\w+)\}")

Json = dict[str, Any]

# What every request may meet, whatever the route.
_ALWAYS: Final[tuple[ProblemCode, ...]] = (
    "malformed_request",
    "headers_too_large",
    "internal_error",
)
_BODY: Final[tuple[ProblemCode, ...]] = ("body_too_large", "request_timeout")
_JSON_BODY: Final[tuple[ProblemCode, ...]] = (
    "malformed_json",
    "unsupported_media_type",
    "validation_failed",
)
_BUSY: Final[tuple[ProblemCode, ...]] = ("not_ready", "overloaded")
_KEY: Final[tuple[ProblemCode, ...]] = ("unauthenticated", "forbidden", "rate_limited")


def build_document(routes: Iterable[Route]) -> bytes:
    """Write the document. Deterministic: the same routes give the same bytes."""
    listed = tuple(routes)
    paths: dict[str, Json] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "paygate",
            "version": version("paygate"),
            "summary": "A payment gateway built of actors.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(listed),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Authorization: Bearer <key>. A key has a role.",
                }
            },
        },
    }
    return msgspec.json.encode(document)


_DESCRIPTION: Final = (
    "Amounts are JSON numbers in major units, read from their text exactly and written with "
    "exactly the currency's decimals. Times are RFC 3339 in UTC. Unknown fields and parameters "
    "are ignored; every fault of a request is named at once, with a JSON pointer. A body may "
    f"have {BODY_BYTES_MAX} bytes."
)


def _operation(route: Route) -> Json:
    names = _PATH_NAME.findall(route.path)
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "tags": [route.path.removeprefix("/api/").strip("/").partition("/")[0]],
        "security": [] if route.access == "public" else [{"apiKey": []}],
        "parameters": [
            *(_path_parameter(name) for name in names),
            *(_parameter(each) for each in route.parameters),
            _REQUEST_ID,
        ],
        "responses": _responses(route),
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_may_be_empty,
            "content": {JSON: {"schema": {"$ref": _REF.format(name=route.body.__name__)}}},
        }
    elif route.raw_body:
        operation["requestBody"] = {
            "description": "What the provider signed, byte by byte.",
            "content": {"*/*": {}},
        }
    return operation


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


_REQUEST_ID: Final[Json] = {
    "name": "X-Request-ID",
    "in": "header",
    "description": (
        "Comes back in the answer if it is 1 to 128 letters, digits, dots, dashes and underscores; "
        "else one is made."
    ),
    "schema": {"type": "string"},
}


_TEXT: Final[Json] = {"schema": {"type": "string"}}


def _responses(route: Route) -> Json:
    success: Json = {"description": route.summary + ".", "headers": _headers(route.headers)}
    if route.reply is not None:
        success["content"] = {route.reply_type: {"schema": _ref(route.reply)}}
    elif route.reply_type == JSON:
        success["content"] = {JSON: {"schema": {"type": "object"}}}
    else:
        success["content"] = {route.reply_type: _TEXT}
    if route.plain_reply:
        success["content"]["text/plain"] = _TEXT
    codes: dict[int, list[ProblemCode]] = {}
    for code in _codes(route):
        codes.setdefault(KINDS[code].status, []).append(code)
    responses: Json = {str(route.success): success}
    if route.leads_on:
        where = _headers({"Location": "Where it goes on."})
        responses["303"] = {"description": route.leads_on, "headers": where}
    for status in sorted(codes):
        responses[str(status)] = {
            "description": "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes[status]),
            "headers": _headers(_RETRY if status in (429, 503) else {}),
            "content": {CONTENT_TYPE: {"schema": _ref(ProblemReply)}},
        }
    return responses


_RETRY: Final = {"Retry-After": "Seconds after which it may go better."}


def _headers(names: Mapping[str, str]) -> Json:
    texts = {"X-Request-ID": "The id of this request.", **names}
    return {
        name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()
    }


def _codes(route: Route) -> Iterable[ProblemCode]:
    """Every code that the route can answer with, each once."""
    return dict.fromkeys((*_implied(route), *route.problems))


def _implied(route: Route) -> Iterator[ProblemCode]:
    yield from _ALWAYS
    if route.access != "public":
        yield from _KEY
    if route.body is not None or route.raw_body:
        yield from _BODY
    if route.body is not None:
        yield from _JSON_BODY
    if any(each.place == "query" for each in route.parameters):
        yield "validation_failed"
    if not route.always:
        yield from _BUSY


def _ref(kind: type[Struct]) -> Json:
    return {"$ref": _REF.format(name=kind.__name__)}


def _schemas(routes: Iterable[Route]) -> Json:
    bodies = [route.body for route in routes if route.body is not None]
    replies = [route.reply for route in routes if route.reply is not None]
    kinds = list(dict.fromkeys([*bodies, *replies, ProblemReply]))
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    for kind, required in REQUIRED.items():
        if kind.__name__ in schemas:
            _require(schemas[kind.__name__], required)
    schemas[PaymentMethodBody.__name__]["oneOf"] = _METHODS
    return _numbers(schemas)


def _require(schema: Json, required: tuple[str, ...]) -> None:
    """Say which fields must be there; `null` will not do for them."""
    properties = schema["properties"]
    for name in required:
        choices = [each for each in properties[name].get("anyOf", ()) if each.get("type") != "null"]
        properties[name] = choices[0] if choices else properties[name]
    schema["required"] = list(required)


def _numbers(schema: Any) -> Any:
    """Call a decimal a number, as which it is written; the encoder is told, its schema is not."""
    if isinstance(schema, list):
        return [_numbers(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    entries = cast("Json", schema)
    if entries.get("format") == "decimal":
        rest = {name: value for name, value in entries.items() if name != "format"}
        return {**rest, "type": "number"}
    return {name: _numbers(value) for name, value in entries.items()}


def _method(kinds: Iterable[str], *needs: str) -> Json:
    return {
        "properties": {
            "type": {"enum": list(kinds)},
            **{name: {"type": ["string", "integer"]} for name in needs},
        },
        "required": ["type", *needs],
    }


_METHODS: Final = [
    _method(CARD_TYPES, "cardNumber", "expiryMonth", "expiryYear"),
    _method(("wallet",), "walletID"),
    _method(("token",), "token"),
    _method(("provider_token",), "provider", "token"),
]
