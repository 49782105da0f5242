"""JSON that is checked before anything in it is believed.

A copy of this file is in `export/`, which runs without egan_keras; a test keeps both
equal. Schemas are JSON Schema's, draft 4, whose integers are never written as 1.0.
"""

import functools
import json
import math
import reprlib
from pathlib import Path
from typing import Any

import fastjsonschema

FORMAT = "egan-keras"
FORMAT_VERSION = 1

Schema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-04/schema#"
_MOST_BYTES = 256 * 1024**2
_DEEPEST = 20
_TOO_DEEP = f"it is deeper than {_DEEPEST} levels"
# What a float32 holds, for which a threshold or a score is made.
_LARGEST = 3e38


def record(
    required: dict[str, Schema], others: dict[str, Schema] | None = None
) -> Schema:
    """Returns the schema of an object, which may have more keys than these."""
    properties = {**required, **(others or {})}
    return {"type": "object", "properties": properties, "required": list(required)}


def listed(items: Schema | list[Schema], at_least: int = 0) -> Schema:
    """Returns the schema of a list, of items that are alike or of each in turn."""
    return {"type": "array", "items": items, "minItems": at_least}


def mapped(values: Schema) -> Schema:
    """Returns the schema of an object with any keys and values of one kind."""
    return {"type": "object", "additionalProperties": values}


def optional(schema: Schema) -> Schema:
    """Returns the schema of what may be null."""
    return {**schema, "type": [schema["type"], "null"]}


NUMBER = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}
NOT_NEGATIVE = {**NUMBER, "minimum": 0}
SHARE = {**NUMBER, "minimum": 0, "maximum": 1}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**53}
TEXT = {"type": "string", "maxLength": 100_000}
# Below a folder, and nowhere else.
PATH = {**TEXT, "pattern": r"^(?!/)(?!([\s\S]*/)?\.\.(/|$))[^\0]+$"}
NAME = {**TEXT, "pattern": r"^[^\0]+$"}
NAMES = listed({**TEXT, "minLength": 1}, at_least=1)
# Of an image, in pixels.
SIDE = {"type": "integer", "minimum": 1, "maximum": 2**15}
GRAY_RANGE = {**listed(NUMBER, at_least=2), "maxItems": 2}
BOOLEAN = {"type": "boolean"}
ANYTHING = {"type": "object"}

_INSIDE = {**SHARE, "exclusiveMinimum": True, "exclusiveMaximum": True}

CALIBRATION = record(
    {
        "threshold": NUMBER,
        "criterion": TEXT,
        "target": optional(_INSIDE),
        "confidence": optional(_INSIDE),
        "n_majority": COUNT,
        "n_minority": COUNT,
        "guarantee": TEXT,
    },
    {
        "costs": optional(
            record(
                {
                    "miss_cost": NOT_NEGATIVE,
                    "false_alarm_cost": NOT_NEGATIVE,
                    "prevalence": _INSIDE,
                }
            )
        )
    },
)
# What an exported model tells of itself, inside it.
METADATA = record(
    {
        "format": {"enum": [FORMAT]},
        "format_version": {"enum": [FORMAT_VERSION]},
        "input": record(
            {
                "shape": {
                    **listed([optional(SIDE), SIDE, SIDE, {"enum": [3]}], at_least=4),
                    "maxItems": 4,
                },
                "dtype": {"enum": ["uint8", "float32"]},
            },
            {
                "colour_order": {"enum": ["RGB"]},
                "range": {"enum": [[0, 255]]},
                "resize": {"enum": ["stretch"]},
                # Black and white of images of more than 8 bits.
                "gray_range": optional(GRAY_RANGE),
            },
        ),
        "classes": record({"majority": NAMES, "minority": NAMES}),
        "threshold": {
            **CALIBRATION,
            "properties": {"calibrated": BOOLEAN, **CALIBRATION["properties"]},
            "required": ["calibrated", *CALIBRATION["required"]],
        },
    },
    {
        "quantize": TEXT,
        "pairing": TEXT,
        "recipe": TEXT,
        "seed": optional(COUNT),
        "integer_share": SHARE,
        "package_version": TEXT,
    },
)
_GOLDEN_IMAGE = record({"file": NAME, "score": NUMBER, "is_minority": {"enum": [0, 1]}})
# The same beside it, with what belongs to one file.
BESIDE = record(
    {
        **METADATA["properties"],
        "file": record(
            {"sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "bytes": COUNT}
        ),
        "golden": record({"tolerance": NOT_NEGATIVE, "images": listed(_GOLDEN_IMAGE)}),
    }
)
BESIDE["required"] = [*METADATA["required"], "file", "golden"]


def read(path: Path, schema: Schema, most_bytes: int = _MOST_BYTES) -> Any:
    """Returns what a JSON file holds, refused as by `parse` or if it is too large."""
    n_bytes = path.stat().st_size
    if n_bytes > most_bytes:
        raise ValueError(f"it has {n_bytes} bytes, more than {most_bytes}")
    return parse(path.read_bytes(), schema)


def parse(content: bytes, schema: Schema) -> Any:
    """Returns what a JSON text holds.

    It is a ValueError if it is no UTF-8 or JSON, has NaN, an infinite number or a key
    twice, is too deep, or is not as its schema says. The message, without a file's
    name, is for a sentence that has it.
    """
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_without_doubles,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    check(value, schema)
    return value


def check(value: Any, schema: Schema) -> None:
    """Checks what JSON held, or will, as `parse` does; the message names the key."""
    _check_numbers_and_depth(value)
    try:
        _compiled(json.dumps(schema))(value)
    except fastjsonschema.JsonSchemaValueException as error:
        key = ".".join(error.path[1:])
        subject = f"its key {key!r}" if key else "it"
        said = error.message.removeprefix(error.name).strip()
        raise ValueError(f"{subject} {said}, not {reprlib.repr(error.value)}") from None


@functools.cache
def _compiled(schema: str):
    return fastjsonschema.compile({"$schema": _DRAFT, **json.loads(schema)})


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a key twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it has the number {text[:20]}")
    return number


def _check_numbers_and_depth(value: Any) -> None:
    level = [("", value)]
    for _ in range(_DEEPEST):
        children = []
        for key, each in level:
            if isinstance(each, float) and not math.isfinite(each):
                raise ValueError(f"its key {key[1:]!r} must be a number, not {each}")
            if isinstance(each, dict | list):
                named = each.items() if isinstance(each, dict) else enumerate(each)
                children += [(f"{key}.{name}", child) for name, child in named]
        level = children
    if level:
        raise ValueError(_TOO_DEEP)
