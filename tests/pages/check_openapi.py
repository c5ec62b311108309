#!/usr/bin/env python3
"""check_openapi.py URL: the description is valid OpenAPI 3.1, and what it describes answers."""
import json
import re
import sys
import urllib.error
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

url = sys.argv[1]
document = json.load(urllib.request.urlopen(url))
assert document["openapi"].startswith("3.1"), document["openapi"]
OpenAPIV31SpecValidator(document).validate()

base = url.removesuffix("/openapi.json")
count = 0
for path, item in document["paths"].items():
    for method in item:
        request = urllib.request.Request(
            base + re.sub(r"\{[^}]*\}", "1", path), method=method.upper(),
            data=b"{}" if method == "post" else None, headers={"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request)
            raise AssertionError(f"{method} {path} answers strangers")
        except urllib.error.HTTPError as error:
            # Known, and not for strangers; an unknown one would be 404.
            assert error.code == 401, (method, path, error.code)
            assert error.headers["Content-Type"] == "application/problem+json"
        count += 1
print(f"openapi: valid 3.1, {count} operations described and there")
