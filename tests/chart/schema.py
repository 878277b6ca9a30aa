"""Generates the chart's schema from its values: `python tests/chart/schema.py`.

A value has the type of its default, and maps are closed. A comment on the same line adds constraints: `# @schema
minimum: 1, maximum: 65535`. `items: string` is the type of a list's items, `is: NAME` refers to a definition below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/slipway"
_TYPES = {"bool": "boolean", "int": "integer", "str": "string"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_QUANTITY = {"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
_QUANTITIES = {"type": "object", "additionalProperties": _QUANTITY}
_ADDRESSES = {"type": "string", "pattern": r"^([0-9]{1,3}\.){3}[0-9]{1,3}/([0-9]|[12][0-9]|3[0-2])$"}
_DEFINITIONS: dict[str, dict[str, Any]] = {
    "addresses": {"type": "array", "items": _ADDRESSES, "uniqueItems": True},
    "bytes": {"type": ["string", "integer"], "pattern": "^[1-9][0-9]*$", "minimum": 1},
    "open": {"type": "object", "additionalProperties": True},
    "ports": {"type": "array", "items": _PORT, "uniqueItems": True},
    "quantities": _QUANTITIES,
    "quantity": _QUANTITY,
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES},
    },
}


def make_schema(text: str) -> str:
    """Return the JSON schema for these values, a YAML text."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_schema(root, text.splitlines(), "")}
    schema["properties"]["global"] = {"type": "object", "description": "Helm's own"}
    return json.dumps(schema, indent=2) + "\n"


def _schema(node: Any, lines: list[str], comment: str) -> dict[str, Any]:
    said = yaml.safe_load(f"{{{comment.partition('@schema ')[2]}}}")
    if "is" in said:
        return _DEFINITIONS[said["is"]]
    if isinstance(node, yaml.ScalarNode):
        return {"type": _TYPES[node.tag.rpartition(":")[2]], **said}
    if isinstance(node, yaml.SequenceNode):
        return {"type": "array", **said, "items": {"type": said["items"]}}
    properties = {}
    for key, value in node.value:
        line = key.start_mark.line
        found = _schema(value, lines, lines[line].partition(" # ")[2])
        above = lines[line - 1].partition("# -- ")[2] if line else ""
        properties[key.value] = {**found, "description": above} if above else found
    return {"type": "object", "additionalProperties": False, "properties": properties}


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(make_schema((CHART / "values.yaml").read_text()))
