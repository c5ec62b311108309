#!/usr/bin/env python3
"""Judges a log as files, from C2SP's texts and RFC 9942 alone; shares no code with bulla.

    verify_log.py vectors DIR            tests/vectors/log: tiles, cosignatures, proofs, COSE Receipts
    verify_log.py folder DIR --log VKEY  a broker's log folder (DATA/broker/log), or a copy of it

COSE Receipts are judged three times: here, by `pycose` and by `scitt-cose` from PyPI.
Exit code 0: everything holds; 1: something does not.
"""

import argparse
import base64
import hashlib
import struct
import sys
from pathlib import Path

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Bad(Exception):
    """Something does not hold."""


def need(holds, what):
    if not holds:
        raise Bad(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_hash(leaf):
    return sha256(b"\0", leaf)


def node(left, right):
    return sha256(b"\1", left, right)


class Key:
    """A verifier key (signed-note): name+id+base64(type || key)."""

    def __init__(self, text):
        name, key_id, key = text.strip().split("+", 2)
        raw = base64.b64decode(key, validate=True)
        self.name, self.kind, self.key = name, raw[0], raw[1:]
        self.key_id = sha256(name.encode(), b"\n", raw)[:4]
        need(self.key_id.hex() == key_id, f"key id of {name}")

    def holds(self, signature, message):
        try:
            if self.kind == 6:
                MLDSA44PublicKey.from_public_bytes(self.key).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Head:
    """A signed checkpoint (tlog-checkpoint), its log's signature verified."""

    def __init__(self, note, log):
        text, _, lines = note.rpartition("\n\n")
        self.text = text + "\n"
        self.origin, size, root = self.text.split("\n")[:3]
        self.size, self.root = int(size), base64.b64decode(root, validate=True)
        self.lines = []
        for line in lines.removesuffix("\n").split("\n"):
            dash, name, encoded = line.split(" ")
            need(dash == "\u2014", "signature line")
            raw = base64.b64decode(encoded, validate=True)
            self.lines.append((name, raw[:4], raw[4:]))
        signatures = list(self.by(log))
        need(signatures and all(log.holds(s, self.text.encode()) for s in signatures), "log signature")
        need(self.origin == log.name, "origin")

    def by(self, key):
        return (raw for name, key_id, raw in self.lines if (name, key_id) == (key.name, key.key_id))

    def cosigned(self, key):
        """The time of a witness's cosignature (tlog-cosignature)."""
        found = list(self.by(key))
        need(found, f"{key.name} did not cosign")
        for raw in found:
            (time,) = struct.unpack(">Q", raw[:8])
            if key.kind == 4:
                message = f"cosignature/v1\ntime {time}\n{self.text}".encode()
            else:
                need(key.kind == 6, f"type {key.kind}")
                name, origin = key.name.encode(), self.origin.encode()
                message = b"subtree/v1\n\0" + bytes([len(name)]) + name + struct.pack(">Q", time)
                message += bytes([len(origin)]) + origin + struct.pack(">QQ", 0, self.size) + self.root
            need(key.holds(raw[8:], message), f"cosignature of {key.name}")
        return time


def root_of(hashes):
    """RFC 6962 section 2.1."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root_of(hashes[:split]), root_of(hashes[split:]))


def by_path(leaf, index, size, path):
    """RFC 9162 section 2.1.3.2: the root that a path leads to."""
    need(index < size, "index")
    fn, sn, root = index, size - 1, leaf
    for sibling in path:
        need(sn != 0, "path too long")
        if fn & 1 or fn == sn:
            root = node(sibling, root)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "path too short")
    return root


def consistent(first, first_root, second, second_root, proof):
    """RFC 9162 section 2.1.4.2."""
    if first & (first - 1) == 0:
        proof = [first_root] + proof
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        need(sn != 0, "proof too long")
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn & 1 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and (fr, sr) == (first_root, second_root), "consistency")


def index_path(number):
    """tlog-tiles: 1234067 is x001/x234/067."""
    groups = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03}")
    return "/".join(groups)


def tile(folder, level, number, width):
    path = folder / "tile" / str(level) / index_path(number)
    partial = Path(f"{path}.p") / str(width)
    return (partial if width < 256 and partial.exists() else path).read_bytes()


def judge_folder(folder, log):
    """Every tile and bundle that the checkpoint needs is there and leads to its root."""
    head = Head((folder / "checkpoint").read_text(), log)
    below, leaves, level = None, [], 0
    for number in range(0, (head.size + 255) // 256):
        width = min(256, head.size - number * 256)
        bundle, at = tile(folder, "entries", number, width), 0
        for _ in range(width):
            (length,) = struct.unpack_from(">H", bundle, at)
            leaves.append(bundle[at + 2 : at + 2 + length])
            at += 2 + length
        need(at == len(bundle), f"bundle {number}")
    hashes = [leaf_hash(leaf) for leaf in leaves]
    need(root_of(hashes) == head.root, "root")
    below = hashes
    while below:
        for number in range(0, (len(below) + 255) // 256):
            here = below[number * 256 : number * 256 + 256]
            raw = tile(folder, level, number, len(here))
            need(raw[: 32 * len(here)] == b"".join(here), f"tile {level}/{number}")
        below = [root_of(below[n : n + 256]) for n in range(0, len(below) - 255, 256)]
        level += 1
    return head, leaves


def judge_proof(text, leaf, log, witnesses):
    """tlog-proof."""
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", "header")
    if lines[0].startswith("extra "):
        need(base64.b64decode(lines.pop(0)[6:]) == leaf, "extra data")
    index = int(lines.pop(0).removeprefix("index "))
    head = Head(note, log)
    path = [base64.b64decode(line, validate=True) for line in lines]
    need(by_path(leaf_hash(leaf), index, head.size, path) == head.root, "inclusion")
    for witness in witnesses:
        head.cosigned(witness)


def judge_receipt(raw, leaf, log):
    """RFC 9942, by this file, by pycose's COSE, and by scitt-cose."""
    protected, unprotected, payload, signature = cbor2.loads(raw).value
    header = cbor2.loads(protected)
    need(header[1] == -8 and header[395] == 1 and payload is None, "header")
    need(header[4] == log.key_id and header[15][1] == log.name, "signer")
    (proof,) = unprotected[396][-1]
    size, index, path = cbor2.loads(proof)
    root = by_path(leaf_hash(leaf), index, size, list(path))
    signed = cbor2.dumps(["Signature1", protected, b"", root])
    need(log.holds(signature, signed), "receipt signature")

    from pycose.headers import Algorithm  # noqa: F401  (registers the headers)
    from pycose.keys import OKPKey
    from pycose.keys.curves import Ed25519
    from pycose.messages import Sign1Message

    message = Sign1Message.decode(raw)
    message.key = OKPKey(crv=Ed25519, x=log.key)
    message.payload = root
    need(message.verify_signature(), "pycose refuses")
    message.payload = sha256(root)
    need(not message.verify_signature(), "pycose takes another root")

    from scitt_cose.receipt import verify_receipt

    public = Ed25519PublicKey.from_public_bytes(log.key)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    result = verify_receipt(raw, leaf_entry_hex=leaf.hex(), log_public_key_pem=pem)
    need(result.ok, f"scitt-cose refuses: {result.errors}")
    other = verify_receipt(raw, leaf_entry_hex=b"other".hex(), log_public_key_pem=pem)
    need(not other.ok, "scitt-cose takes another leaf")


def judge_request(text, old, log):
    """tlog-witness: what a log sends."""
    head, _, note = text.partition("\n\n")
    size, *proof = head.split("\n")
    need(size == f"old {old.size}", "old size")
    new = Head(note, log)
    proof = [base64.b64decode(line, validate=True) for line in proof]
    consistent(old.size, old.root, new.size, new.root, proof)


def judge_vectors(folder):
    log = Key((folder / "log.vkey").read_text())
    witnesses = [Key(line) for line in (folder / "witnesses.vkeys").read_text().splitlines()]
    head, leaves = judge_folder(folder / "log", log)
    times = [head.cosigned(witness) for witness in witnesses]
    proof = (folder / "leaf-300.tlog-proof").read_text()
    judge_proof(proof, leaves[300], log, witnesses)
    judge_receipt((folder / "leaf-300.cose").read_bytes(), leaves[300], log)
    old = Head((folder / "checkpoint-250").read_text(), log)
    judge_request((folder / "add-checkpoint").read_text(), old, log)
    for lie in (lambda: judge_proof(proof, b"other", log, []),
                lambda: judge_proof(proof.replace("index 300", "index 301"), leaves[300], log, []),
                lambda: head.cosigned(Key((folder / "log.vkey").read_text()))):
        try:
            lie()
        except Bad:
            continue
        raise Bad("a lie was believed")
    return f"{head.size} leaves, cosigned at {times}, proof, COSE Receipt (3 readers), request"


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    vectors = commands.add_parser("vectors")
    vectors.add_argument("dir", type=Path)
    folder = commands.add_parser("folder")
    folder.add_argument("dir", type=Path)
    folder.add_argument("--log", required=True)
    args = parser.parse_args()
    try:
        if args.command == "vectors":
            print("log vectors:", judge_vectors(args.dir))
        else:
            head, leaves = judge_folder(args.dir, Key(args.log))
            print(f"log folder: {head.origin}, {head.size} leaves, every tile and bundle leads to the root")
    except (Bad, ValueError, KeyError, OSError) as error:
        print(f"FOUND: {error!r}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
