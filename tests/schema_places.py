"""Every place of a pipeline file at which something may stand, as its JSON Schema says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flink_job.pipeline.spec import Pipeline

SCHEMA = Pipeline.model_json_schema()
Place = tuple[tuple[dict[str, Any], str] | int, ...]


def branches(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the forms that something of a schema may have."""
    if "$ref" in schema:
        yield from branches(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
        return
    several = [branch for key in ("anyOf", "oneOf") for branch in schema.get(key, ())]
    for branch in several:
        yield from () if set(branch) == {"required"} else branches(branch)
    if not several or "properties" in schema:
        yield schema


def places(schema: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield where values may stand, and the schema of each.

    A place is the keys that lead to it, each with what says of which kind its mapping is, and 0 in lists.
    """
    for branch in branches(schema):
        keys = branch.get("properties", {})
        kind = {key: of["const"] for key, of in keys.items() if "const" in of}
        below = [((kind, key), of) for key, of in keys.items()]
        for of in (branch.get("additionalProperties"), *branch.get("patternProperties", {}).values()):
            if isinstance(of, dict):
                below.append((({}, "some"), of))
        if "items" in branch:
            below.append((0, branch["items"]))
        for step, of in below:
            yield (step,), of
            yield from (((step, *rest), inner) for rest, inner in places(of))


def standing_at(place: Place, value: Any) -> Any:
    """Return the least document that has a value at a place."""
    if not place:
        return value
    step, *rest = place
    inner = standing_at(tuple(rest), value)
    return [inner] if isinstance(step, int) else {**step[0], step[1]: inner}


def key_of(place: Place) -> str:
    """Return a place as `--set` names it."""
    return ".".join("0" if isinstance(step, int) else step[1] for step in place)


PLACES = list({json.dumps(place): place for place, _ in places(SCHEMA)}.values())
NUMBERS = [
    place
    for place, of in places(SCHEMA)
    if {branch.get("type") for branch in branches(of)} & {"integer", "number"}
    and not any(branch.get("type") == "boolean" for branch in branches(of))
]
"""Places that take numbers and neither true nor false."""
