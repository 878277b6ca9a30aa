"""The chart's closed schema, made from its documented values: `python tests/chart/schema.py`.

A value's type is its default's. A comment on its line opens a map (`# @schema additionalProperties: true`) or says what
a list holds (`# @schema item: string`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/slipway"
_TYPES = {"bool": "boolean", "int": "integer", "str": "string"}


def make_schema(text: str) -> str:
    """Return the JSON schema of what these values, a YAML text, may be replaced with."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_schema(root, text.splitlines(), "")}
    schema["properties"]["global"] = {"type": "object", "description": "Helm's own"}
    return json.dumps(schema, indent=2) + "\n"


def _schema(node: Any, lines: list[str], comment: str) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {"type": _TYPES[node.tag.rpartition(":")[2]]}
    if isinstance(node, yaml.SequenceNode):
        item = re.search(r"@schema item: (\w+)", comment)
        return {"type": "array", "items": {"type": item[1]} if item else {}}
    if "@schema additionalProperties: true" in comment:
        return {"type": "object"}
    properties = {}
    for key, value in node.value:
        line = key.start_mark.line
        found = _schema(value, lines, lines[line].partition(" #")[2])
        above = re.match(r" *# -- (.*)", lines[line - 1]) if line else None
        properties[key.value] = {**found, "description": above[1]} if above else found
    return {"type": "object", "additionalProperties": False, "properties": properties}


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(make_schema((CHART / "values.yaml").read_text()))
