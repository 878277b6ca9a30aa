"""Generates JSON schemas for kubeconform from Kubernetes' OpenAPI document.

`python3 kubernetes_schemas.py swagger.json FOLDER` writes one file per kind, such as deployment-apps-v1.json.
They are strict: unknown fields are errors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_EITHER = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
_KIND = "x-kubernetes-group-version-kind"


def make_schemas(swagger: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas by file name; each kind's schema refers to the one with all definitions."""
    definitions = {name: _strict(each) for name, each in swagger["definitions"].items()} | _EITHER
    schemas: dict[str, dict[str, Any]] = {"definitions.json": {"definitions": definitions}}
    for name, definition in swagger["definitions"].items():
        for kind in definition.get(_KIND, []):
            group = kind["group"].partition(".")[0]  # kubeconform looks for networkpolicy-networking-v1
            file = "-".join(part for part in (kind["kind"], group, kind["version"]) if part).lower()
            schemas[f"{file}.json"] = {"$ref": f"definitions.json#/definitions/{name}"}
    return schemas


def _strict(definition: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in definition or definition.get("x-kubernetes-preserve-unknown-fields"):
        return definition
    return {**definition, "additionalProperties": False}


if __name__ == "__main__":
    described, folder = map(Path, sys.argv[1:])
    for name, schema in make_schemas(json.loads(described.read_text())).items():
        (folder / name).write_text(json.dumps(schema))
