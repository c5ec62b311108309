#!/usr/bin/env python3
"""Puts module, page and examples into one HTML file that needs nothing else.

assemble.py MODULE.wasm OUT.html

The content security policy names the style and the script by their SHA-256 and allows nothing
else: no connection, no frame, no form, no image, no foreign script.
"""
import base64
import gzip
import hashlib
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCRIPTS = ["show.js", "verdict.js", "findings.js", "verifier.js", "page.js", "start.js"]
EXAMPLES = [
    "bundle/evidence-0.json",
    "bundle/full.cborseq",
    "bundle/overcharged.cborseq",
    "bundle/trust.json",
    "simulated-chain/genoa-ark.der",
]


def packed(data: bytes) -> str:
    """Gzip (with no time in it: the same input gives the same page) in base64."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def source(text: str) -> str:
    """A `csp` source expression for an inline element's exact text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def policy(style: str, script: str) -> str:
    return "; ".join([
        "default-src 'none'",
        f"script-src {source(script)} 'wasm-unsafe-eval'",
        f"style-src {source(style)}",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types bulla-worker",
    ])


def read(name: str) -> str:
    return (HERE / "page" / name).read_text(encoding="utf-8")


def version() -> str:
    text = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    return re.search(r'^version = "([^"]+)"', text, re.M).group(1)


def page(module: bytes) -> str:
    style = "\n" + read("style.css")
    script = "\n'use strict';\n" + "\n".join(read(name) for name in SCRIPTS)
    worker = read("worker.js")
    for name, text in [("script", script), ("worker", worker), ("style", style)]:
        assert "</s" not in text and "<!--" not in text, f"the {name} would end its own element"
    files = {name: (ROOT / "tests/vectors" / name).read_bytes() for name in EXAMPLES}
    examples = json.dumps({name: base64.b64encode(data).decode() for name, data in files.items()})
    values = {
        "policy": policy(style, script),
        "style": style,
        "script": script,
        "worker": worker,
        "module": packed(module),
        "examples": packed(examples.encode()),
        "version": version(),
        "wasm_size": f"{len(module) / 1e6:.2f} MB",
        "wasm_sha256": hashlib.sha256(module).hexdigest(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match.group(1)], read("index.html"))


def main() -> None:
    module, out = map(pathlib.Path, sys.argv[1:3])
    wasm = module.read_bytes()
    text = page(wasm).encode()
    out.write_bytes(text)
    print(f"module {len(wasm):,} bytes, page {len(text):,} bytes: {out}")
    print(f"SHA-256 of the page {hashlib.sha256(text).hexdigest()}")


if __name__ == "__main__":
    main()
