#!/usr/bin/env python3
"""A log that took another origin, as docs/spec/log-leaf.md 8 has it: heads of a bundle are signed
anew under other names, and judged.

    check_succession.py BUNDLE --trust trust.json      tests/vectors/bundle/full.cborseq, trust.json
"""

import argparse
import base64
import json
import sys
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from formats import item_end, leaf_hash, root_of, sha256
from verify_bundle import verify

# The key of the samples' log is that of seed 32 x 01 (docs/spec/log-leaf.md, Vectors).
FIRST, SECOND, THIRD = ("log.example/bulla", 1), ("log.example/bulla-2", 51), ("log.example/3", 52)


class Signer:
    def __init__(self, name, seed):
        self.name = name
        self.secret = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        raw = b"\x01" + self.secret.public_key().public_bytes_raw()
        self.key_id = sha256(name.encode() + b"\n" + raw)[:4]
        self.verifier = f"{name}+{self.key_id.hex()}+{base64.b64encode(raw).decode()}"

    def head(self, hashes):
        text = f"{self.name}\n{len(hashes)}\n{base64.b64encode(root_of(hashes)).decode()}\n"
        signature = base64.b64encode(self.key_id + self.secret.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.name} {signature}\n".encode()


def items_of(data):
    items, at = [], 0
    while at < len(data):
        end = item_end(data, at)
        items.append(cbor2.loads(data[at:end]))
        at = end
    return items


def renamed(items, origin, heads):
    """The bundle under `origin`, with these heads instead of its own."""
    header = {**items[0][1], -70201: origin}
    rest = [item for item in items[1:] if item[0] != 1]
    told = [[0, header], *([1, head] for head in heads), *rest]
    return b"".join(cbor2.dumps(item, canonical=True) for item in told)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trust", type=Path, required=True)
    arguments = parser.parse_args()
    trust = json.loads(arguments.trust.read_text())
    items = items_of(arguments.bundle.read_bytes())
    hashes = [leaf_hash(leaf) for kind, leaf in items if kind == 2]
    one, two, three = (Signer(*who) for who in (FIRST, SECOND, THIRD))
    assert trust["log_key"] == one.verifier, "the samples' log has another key"
    rotated = Signer(FIRST[0], 53)
    early, middle, late = hashes[:4], hashes[:9], hashes
    # What is told; under which name; whose keys are named; heads; whether it holds.
    cases = [
        ("one name", one, [one], [one.head(early), one.head(late)], True),
        ("another origin", two, [one, two], [one.head(early), two.head(late)], True),
        ("... named in either order", two, [two, one], [one.head(early), two.head(late)], True),
        ("three names, one after the other", three, [one, two, three],
         [one.head(early), two.head(middle), three.head(late)], True),
        ("another key under the same origin", rotated, [one, rotated],
         [one.head(early), rotated.head(late)], True),
        ("the new key alone", two, [two], [one.head(early), two.head(late)], False),
        ("the old key alone", two, [one], [one.head(early), two.head(late)], False),
        ("another history under the old name", two, [one, two],
         [one.head(hashes[1:5]), two.head(late)], False),
        ("a name that was given up signs again", two, [one, two],
         [one.head(early), two.head(middle), one.head(hashes[:10]), two.head(late)], False),
        ("the last head under the old name", two, [one, two],
         [two.head(early), one.head(late)], False),
        ("the old name's bundle with the new one's head", one, [one, two],
         [one.head(early), two.head(late)], False),
    ]
    wrong = 0
    for told, own, named, heads, holds in cases:
        keys = [signer.verifier for signer in named]
        given = {"broker_root": trust["broker_root"], "log_keys": keys}
        errors = verify(renamed(items, own.name, heads), given).errors
        right = holds == (not errors)
        wrong += not right
        first = f": {errors[0][0]}: {errors[0][1]}" if errors else ""
        print(f"  {'as it must' if right else 'WRONG':<11}{told}{first}")
    print(f"{len(cases) - wrong} of {len(cases)} judged rightly")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
