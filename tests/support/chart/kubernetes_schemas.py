"""Generates JSON schemas for kubeconform from Kubernetes' OpenAPI document.

`python3 kubernetes_schemas.py swagger.json FOLDER` writes one file per kind, such as deployment-apps-v1.json.
They are strict: unknown fields are errors.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_EITHER = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
_KIND = "x-kubernetes-group-version-kind"


def make_schemas(swagger: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a schema for each kind by file name, with the definitions that it uses: all of them load for seconds."""
    definitions = {name: _strict(each) for name, each in swagger["definitions"].items()} | _EITHER
    schemas = {}
    for name, definition in swagger["definitions"].items():
        for kind in definition.get(_KIND, []):
            group = kind["group"].partition(".")[0]  # kubeconform looks for networkpolicy-networking-v1
            file = "-".join(part for part in (kind["kind"], group, kind["version"]) if part).lower()
            schemas[f"{file}.json"] = {"$ref": f"#/definitions/{name}", "definitions": _used(name, definitions)}
    return schemas


def _used(name: str, definitions: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    names = [name]
    while names:
        if (each := names.pop()) not in found:
            found[each] = definitions[each]
            names += re.findall(r"#/definitions/([^\"]+)", json.dumps(definitions[each]))
    return found


def _strict(definition: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in definition or definition.get("x-kubernetes-preserve-unknown-fields"):
        return definition
    return {**definition, "additionalProperties": False}


if __name__ == "__main__":
    described, folder = map(Path, sys.argv[1:])
    for name, schema in make_schemas(json.loads(described.read_text())).items():
        (folder / name).write_text(json.dumps(schema))
