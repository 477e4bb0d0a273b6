"""Validates an OpenAPI document from standard input, and prints its version."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

document = json.load(sys.stdin)
validate(document, cls=OpenAPIV31SpecValidator)

# The specification's schema does not follow names: each requirement names a scheme.
schemes = document["components"]["securitySchemes"]
requirements = list(document.get("security", []))
for operations in document["paths"].values():
    for operation in operations.values():
        requirements += operation.get("security", [])
for requirement in requirements:
    unknown = requirement.keys() - schemes.keys()
    assert not unknown, f"no scheme for {unknown}"
print(document["openapi"], len(requirements))
