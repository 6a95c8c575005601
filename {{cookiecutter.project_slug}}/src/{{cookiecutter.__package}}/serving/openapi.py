"""The service described: to programs as OpenAPI with real examples, to people as a page that tries a model."""

import base64
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..datasets.columns import LARGEST, Input
from ..datasets.ranges import in_words
from .protection import MAX_ROWS
from .served_version import ServedVersion

NUMBER = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
TYPES = {
    "number": NUMBER,
    "text": {"type": "string"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date-time"},
    "file": {"type": "string", "contentEncoding": "base64"},
    "list of numbers": {"type": "array", "items": NUMBER | {"type": ["number", "null"]}},
}
REFUSALS = {
    "401": "the key is missing or wrong (X-API-Key)",
    "404": "there is no such model",
    "408": "the request did not arrive in time",
    "413": "the body is too large",
    "422": "a row does not fit: the text names the column",
    "503": "no champion yet, or busy: try again after Retry-After",
}
TEXT, COUNT = {"type": "string"}, {"type": "integer"}
MODEL = {"model": TEXT}
PREDICT, FEEDBACK = "/models/{name}/predict", "/models/{name}/feedback"
GIVEN, NONE = {"not": {"type": "null"}}, {"type": "null"}
LABEL = {
    "type": "object",
    "properties": {"label": GIVEN, "time": {"type": ["string", "null"], "format": "date-time"}},
    "required": ["label"],
    "oneOf": [
        {"properties": {"prediction_id": {"type": "string"}, "key": NONE}, "required": ["prediction_id"]},
        {"properties": {"prediction_id": NONE, "key": GIVEN}, "required": ["key"]},
    ],
    "unevaluatedProperties": False,
}


def document(service: FastAPI) -> dict[str, Any]:
    """Return the document of the service with the models that serve now."""
    found = get_openapi(title=service.title, version=service.version, routes=service.routes)
    for name in service.state.models.names:
        champion = service.state.models.champions.get(name)
        found["paths"][PREDICT.format(name=name)] = {"post": _predict(name, champion)}
        found["paths"][FEEDBACK.format(name=name)] = {"post": _feedback(name)}
    return found


@cache
def page() -> tuple[str, dict[str, str]]:
    """Return the page, which knows no model but asks for the document, and headers that let it load nothing else."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    allowed = {}
    for kind in ("script", "style"):
        [content] = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        allowed[kind] = base64.b64encode(sha256(content.encode()).digest()).decode()
    policy = "; ".join(f"{kind}-src 'sha256-{digest}'" for kind, digest in allowed.items())
    rest = "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return text, {"Content-Security-Policy": f"{rest}; {policy}", "X-Content-Type-Options": "nosniff"}


def _predict(name: str, champion: ServedVersion | None) -> dict[str, Any]:
    """Return what is asked of a model, and what it answers."""
    row, asked, answered = {"type": "object"}, {}, {}
    if champion:
        signature = champion.version.signature
        columns = {column.name: _column(column) for column in signature.inputs}
        required = [column.name for column in signature.inputs if not column.optional]
        row |= {"properties": columns, "required": required}
        asked = {"rows": signature.examples[:1]}
        answered = {"model": name, "version": champion.number, "predictions": signature.predictions[:1], "warnings": []}
    parts = {"version": TEXT, "predictions": _several({"type": "object"}), "warnings": _several(TEXT)}
    answer = _object(MODEL | parts, {"prediction_ids": _several(TEXT)})
    return {
        "summary": f"Predict rows by {name}",
        "operationId": f"predict_{name}",
        "requestBody": {"required": True} | _content(_object({"rows": _items(row)}), "", asked),
        "responses": {"200": _content(answer, "a prediction for each row", answered)} | _refusals(),
    }


def _feedback(name: str) -> dict[str, Any]:
    """Return how labels come to a model."""
    answer = _object(MODEL | {"stored": COUNT, "unknown": _several(TEXT), "unknown_count": COUNT})
    return {
        "summary": f"Store labels of what {name} predicted",
        "operationId": f"feedback_{name}",
        "requestBody": {"required": True} | _content(_object({"labels": _items(LABEL)})),
        "responses": {"200": _content(answer, "how many were stored, and which name no prediction")}
        | _refusals({"409": "nothing is logged here"}),
    }


def _refusals(more: dict[str, str] | None = None) -> dict[str, Any]:
    return {code: _content(_object({"detail": TEXT}), why) for code, why in (REFUSALS | (more or {})).items()}


def _object(required: dict[str, Any], more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": required | (more or {}), "required": [*required]}


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _items(items: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what one request may hold."""
    return _several(items) | {"minItems": 1, "maxItems": MAX_ROWS}


def _content(schema: dict[str, Any], description: str = "", example: dict[str, Any] | None = None) -> dict[str, Any]:
    found = {"schema": schema} | ({"example": example} if example else {})
    return ({"description": description} if description else {}) | {"content": {"application/json": found}}


def _column(column: Input) -> dict[str, Any]:
    """Return the schema of a column of a row."""
    found = dict(TYPES.get(column.kind, {}))
    if column.nullable and "type" in found:
        found["type"] = [found["type"], "null"]
    checks = "; ".join(in_words(name, arguments) for name, arguments in column.checks.items())
    return found | ({"description": f"should be {checks}"} if checks else {})
