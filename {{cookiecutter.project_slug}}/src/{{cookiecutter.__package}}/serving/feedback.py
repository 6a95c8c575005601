"""Labels over HTTP: what turned out true of predictions that were logged."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from pydantic import FailFast
from sqlalchemy.exc import SQLAlchemyError

from .. import BadRows, first_line
from .labels import add_labels, parsed
from .log_store import open_log
from .protection import MAX_ROWS, PlainJSONRoute

SHOWN = 10  # unknown ids and keys in an answer
routes = APIRouter(route_class=PlainJSONRoute)


@routes.post("/models/{name}/feedback", include_in_schema=False)
def feedback(
    request: Request, name: str, records: Annotated[list[dict[str, Any]], FailFast(), Body(embed=True, alias="labels")]
) -> dict[str, Any]:
    """Store labels, each with the `prediction_id` of an answer or the `key` of a row; answer what is not known."""
    state = request.app.state
    if name not in state.models.names:
        raise HTTPException(404, f"there is no model {name!r}, only {', '.join(state.models.names)}")
    if not state.log.enabled:
        raise HTTPException(409, "predictions are not logged here (PREDICTION_LOG), so that no label can be stored")
    if not 0 < len(records) <= MAX_ROWS:
        raise HTTPException(422, f"send between 1 and {MAX_ROWS} labels")
    state.log.flush()
    try:
        champion = state.models.champions.get(name)
        every = champion is not None and champion.version.forecasts
        stored, unknown = add_labels(open_log(), name, parsed(records), every=every)
    except BadRows as bad:
        raise HTTPException(422, str(bad)) from bad
    except SQLAlchemyError as error:
        detail = f"the prediction log cannot be written: {first_line(error)}"
        raise HTTPException(503, detail, {"Retry-After": "1"}) from error
    return {"model": name, "stored": stored, "unknown": unknown[:SHOWN], "unknown_count": len(unknown)}
