"""Deterministic CBOR, COSE_Sign1, labelled digests, the log's hashes and signed notes.

Written from docs/spec/README.md and docs/spec/log-leaf.md.
"""

import base64
import hashlib
import re

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

U64 = 2**64 - 1
MAX_ITEM_BYTES = 5 << 20


class Bad(Exception):
    """Bytes that are not what they should be; the text says why."""


def need(condition, reason):
    if not condition:
        raise Bad(reason)


# --- deterministic CBOR -----------------------------------------------------------------------


def item_end(data, at):
    """Where the CBOR item that starts at `at` ends; None when the data ends before."""
    if at >= len(data):
        return None
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if info < 24:
        argument = info
    elif info <= 27:
        size = 1 << (info - 24)
        if at + size > len(data):
            return None
        argument = int.from_bytes(data[at : at + size], "big")
        at += size
    else:
        raise Bad("indefinite length or reserved head")
    if major in (2, 3):
        at += argument
        return at if at <= len(data) else None
    count = {4: argument, 5: 2 * argument, 6: 1}.get(major, 0)
    need(count <= len(data), "more entries than bytes")
    for _ in range(count):
        at = item_end(data, at)
        if at is None:
            return None
    return at


def decode(data):
    """Decodes one value that fills `data`, strictly: it must encode to the same bytes."""
    try:
        need(item_end(data, 0) == len(data), "bytes missing or left over")
        value = cbor2.loads(data)
        again = cbor2.dumps(value, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, RecursionError) as error:
        raise Bad(f"malformed CBOR: {error}") from error
    need(again == data, "the encoding is not the deterministic one")
    return value


def is_uint(value):
    return type(value) is int and 0 <= value <= U64


def fixed(size):
    return lambda value: type(value) is bytes and len(value) == size


def is_bytes(value):
    return type(value) is bytes


def is_text(value):
    return type(value) is str


def is_unit(value):
    return is_text(value) and re.fullmatch("[A-Z]{2,8}", value) is not None


def is_instance(value):
    return is_text(value) and re.fullmatch("[a-z0-9._-]{1,64}", value) is not None


def is_rates(value):
    rate = lambda number: is_uint(number) and number <= 10**15
    return type(value) is list and len(value) == 5 and all(map(rate, value))


def is_usage(value):
    return type(value) is list and len(value) == 4 and all(map(is_uint, value))


def below(limit):
    return lambda value: is_uint(value) and value < limit


def shaped(value, shape, what):
    """Checks a map against {key: test}; a key given as (key, 'optional') may be absent."""
    need(type(value) is dict, f"{what} is not a map")
    left = dict(value)
    for key, test in shape.items():
        key, optional = key if type(key) is tuple else (key, False)
        if key not in left:
            need(optional, f"{what} lacks claim {key}")
            continue
        need(test(left.pop(key)), f"claim {key} of {what} is not of its type")
    need(not left, f"{what} has unknown claims {sorted(left)}")
    return value


# --- digests ----------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def labelled(label, data):
    return sha256(bytes([len(label)]) + label.encode() + data)


ORDER, RECORD = "bulla order v1", "bulla record v1"
ACCOUNT, PRICE_BOOK, EVIDENCE = "bulla account v1", "bulla price book v1", "bulla evidence v1"
TENANT = "bulla tenant v1"


# --- signed messages --------------------------------------------------------------------------


def verifies(public_key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Sign1:
    """A COSE_Sign1 message taken apart; `claims` are not verified until `check` was called."""

    def __init__(self, data, typ, max_bytes, shape):
        need(len(data) <= max_bytes, f"{len(data)} bytes, at most {max_bytes} are allowed")
        frame = decode(data)
        need(isinstance(frame, cbor2.CBORTag) and frame.tag == 18, "not tagged COSE_Sign1")
        need(isinstance(frame.value, (list, tuple)), "not an array")
        need(len(frame.value) == 4, "not an array of four")
        self.protected, unprotected, self.payload, self.signature = frame.value
        need(cbor2.dumps(unprotected) == b"\xa0", "unprotected header is not empty")
        need(is_bytes(self.protected) and is_bytes(self.payload), "header or payload is no bstr")
        need(fixed(64)(self.signature), "signature is not 64 bytes")
        header = decode(self.protected)
        shaped(header, {1: lambda alg: alg == -8, 4: fixed(8), 16: is_text}, "protected header")
        need(header[16] == typ, f"expected typ {typ}, got {header[16]}")
        self.kid = header[4]
        self.claims = shaped(decode(self.payload), shape, typ)
        self.data = data

    def to_be_signed(self):
        return cbor2.dumps(["Signature1", self.protected, b"", self.payload], canonical=True)

    def signed_by(self, public_key):
        return self.kid == public_key[:8] and verifies(
            public_key, self.signature, self.to_be_signed()
        )


TEXT = "application/bulla-{}+cose".format
ORDER_SHAPE = {
    4: is_uint, 6: is_uint, -70001: fixed(16), -70002: fixed(32), -70003: fixed(32),
    -70004: fixed(32), -70005: fixed(32), -70006: is_uint, -70007: is_uint, -70008: is_unit,
    -70009: is_rates, -70010: fixed(32), -70011: is_uint,
}
GRANT_SHAPE = {6: is_uint, -70004: fixed(32), -70020: fixed(32), -70021: is_uint,
               -70022: is_uint, -70023: is_uint}
DELEGATION_SHAPE = {4: is_uint, 6: is_uint, -70030: fixed(32)}
RECEIPT_SHAPE = {
    1: is_instance, 6: is_uint, 7: fixed(16), 10: fixed(32), 265: is_text, -70001: fixed(16),
    -70004: fixed(32), -70005: fixed(32), -70008: is_unit, -70009: is_rates, -70010: fixed(32),
    -70020: fixed(32), -70040: fixed(16), -70041: is_uint, -70042: fixed(32), -70043: fixed(32),
    -70044: is_text, -70045: is_uint, -70046: is_usage, -70047: is_uint, -70048: below(6),
    -70049: is_uint, -70050: is_uint, (-70051, True): fixed(32), (-70052, True): fixed(32),
    -70053: fixed(32), -70054: below(2), -70055: below(2), (-70056, True): is_uint,
    (-70057, True): lambda v: isinstance(v, str) and len(v.encode()) <= 64,
}
OPEN_SHAPE = {1: is_instance, 6: is_uint, -70004: fixed(32), -70040: fixed(16),
              -70053: fixed(32), -70060: is_bytes, -70061: fixed(32)}
OFFER_SHAPE = {6: is_uint, -70004: fixed(32), -70060: is_bytes}
CLOSE_SHAPE = {1: is_instance, 6: is_uint, -70004: fixed(32), -70040: fixed(16),
               -70041: is_uint, -70042: fixed(32)}
ROW_SHAPE = {-70005: fixed(32), -70008: is_unit, -70009: is_rates,
             -70104: lambda name: is_text(name) and 1 <= len(name.encode()) <= 128}


VARIANT_SHAPE = {-70005: fixed(32), -70008: is_unit, -70009: is_rates, (-70106, True): is_text,
                 (-70107, True): fixed(32)}


def rows_of(shape, what):
    def test(rows):
        if type(rows) is not list or len(rows) > 10_000:
            return False
        for row in rows:
            shaped(row, shape, what)
        return True
    return test


BOOK_SHAPE = {6: is_uint, -70101: is_uint, -70102: is_uint,
              -70103: rows_of(ROW_SHAPE, "price row"),
              (-70105, True): rows_of(VARIANT_SHAPE, "price variant")}

DENOMINATION_SHAPE = {-70405: is_uint, -70406: fixed(32)}
BLIND_SHAPE = {6: is_uint, -70008: is_unit, -70400: is_uint, -70401: is_uint, -70402: is_uint,
               (-70403, True): fixed(32), -70404: rows_of(DENOMINATION_SHAPE, "denomination")}

is_sum = fixed(16)
SUPPLY_ROW_SHAPE = {-70008: is_unit, -70264: is_sum, -70265: is_sum, -70266: is_sum,
                    -70267: is_sum, -70268: is_sum}
SUPPLY_SHAPE = {6: is_uint, -70260: is_uint, -70261: is_uint, (-70262, True): fixed(32),
                -70263: rows_of(SUPPLY_ROW_SHAPE, "supply row")}
SHOWING_SHAPE = {1: is_text, 6: is_uint, -70020: fixed(32), -70201: is_text, -70202: is_uint}

MESSAGES = {
    "order": (TEXT("order"), 2048, ORDER_SHAPE),
    "grant": (TEXT("grant"), 1024, GRANT_SHAPE),
    "delegation": (TEXT("delegation"), 1024, DELEGATION_SHAPE),
    "receipt": (TEXT("usage-receipt"), 2048, RECEIPT_SHAPE),
    "open": (TEXT("epoch-open"), 28672, OPEN_SHAPE),
    "offer": (TEXT("epoch-offer"), 25088, OFFER_SHAPE),
    "close": (TEXT("epoch-close"), 28672, CLOSE_SHAPE),
    "book": (TEXT("price-book"), 1 << 20, BOOK_SHAPE),
    "blind": (TEXT("blind-keys"), 8192, BLIND_SHAPE),
    "supply": (TEXT("supply"), 60_000, SUPPLY_SHAPE),
    "showing": (TEXT("order-showing"), 1024, SHOWING_SHAPE),
}


def message(kind, data):
    need(is_bytes(data), f"{kind} is no bstr")
    return Sign1(data, *MESSAGES[kind])


# --- charge -----------------------------------------------------------------------------------


def charge(rates, usage):
    entered, cached, output, reasoning = usage
    need(cached <= entered and reasoning <= output, "a part of the usage exceeds its whole")
    total = ((entered - cached) * rates[0] + cached * rates[1]
             + (output - reasoning) * rates[2] + reasoning * rates[3])
    total = -(-total // 1_000_000) + rates[4]
    need(total <= U64, "the charge exceeds 64 bits")
    return total


def most(rates, ceiling_input, ceiling_output):
    total = ceiling_input * max(rates[0], rates[1]) + ceiling_output * max(rates[2], rates[3])
    return -(-total // 1_000_000) + rates[4]


# --- the log ----------------------------------------------------------------------------------


def leaf_hash(leaf):
    return sha256(b"\x00" + leaf)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def root_of(hashes):
    """RFC 6962 section 2.1, as it is written there."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(root_of(hashes[:split]), root_of(hashes[split:]))


def root_by_proof(leaf, index, size, proof):
    """RFC 9162 section 2.1.3.2: the root an inclusion proof leads to."""
    need(index < size, "the leaf is not in the tree")
    fn, sn, result = index, size - 1, leaf
    for sibling in proof:
        need(sn > 0, "the proof is too long")
        if fn & 1 or fn == sn:
            result = node_hash(sibling, result)
            if not fn & 1:
                while fn and not fn & 1:
                    fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, sibling)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof is too short")
    return result


class LogKey:
    """A verifier key, NAME+HEX+BASE64."""

    def __init__(self, text):
        self.name, key_id, key = text.split("+", 2)
        raw = base64.b64decode(key, validate=True)
        need(len(raw) == 33 and raw[0] == 1, "not an Ed25519 verifier key")
        self.key = raw[1:]
        self.key_id = sha256(self.name.encode() + b"\n" + raw)[:4]
        need(self.key_id.hex() == key_id, "the verifier key's id is not its own")


class WitnessKey:
    """A witness's verifier key; `key` is None where it is not Ed25519 (type 0x04)."""

    def __init__(self, text):
        self.name, key_id, key = text.split("+", 2)
        raw = base64.b64decode(key, validate=True)
        self.key_id = sha256(self.name.encode() + b"\n" + raw)[:4]
        need(self.key_id.hex() == key_id, "the verifier key's id is not its own")
        self.key = raw[1:] if raw[0] == 4 and len(raw) == 33 else None

    def cosigned_at(self, note):
        """The time of its cosignature (tlog-cosignature); None where it did not cosign."""
        text, _, signatures = note.decode().rpartition("\n\n")
        times = []
        for line in signatures.removesuffix("\n").split("\n"):
            _, name, raw = line.split(" ")
            raw = base64.b64decode(raw, validate=True)
            if (name, raw[:4]) != (self.name, self.key_id):
                continue
            time = int.from_bytes(raw[4:12], "big")
            signed = f"cosignature/v1\ntime {time}\n{text}\n".encode()
            need(verifies(self.key, raw[12:], signed), f"a false cosignature of {self.name}")
            times.append(time)
        return max(times, default=None)


def open_checkpoint_of(note, keys):
    """Returns (origin, size, root) of a checkpoint signed by one of `keys`."""
    refusals = []
    for key in keys:
        try:
            return (key.name, *open_checkpoint(note, key))
        except Bad as error:
            refusals.append(f"under {key.name}: {error}")
    raise Bad("; ".join(refusals))


def open_checkpoint(note, key):
    """Returns (size, root) of a checkpoint signed by `key`."""
    need(is_bytes(note), "checkpoint is no bstr")
    try:
        text, _, signatures = note.decode().rpartition("\n\n")
        need(text and signatures.endswith("\n"), "not a signed note")
        text += "\n"
        origin, size, root = text.split("\n")[:3]
    except (UnicodeDecodeError, ValueError) as error:
        raise Bad(f"not a signed note: {error}") from error
    found = False
    for line in signatures.removesuffix("\n").split("\n"):
        parts = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/]+={0,2})", line)
        need(parts, "a signature line does not read")
        raw = base64.b64decode(parts[2], validate=True)
        if parts[1] == key.name and raw[:4] == key.key_id:
            need(verifies(key.key, raw[4:], text.encode()), "the log's signature is wrong")
            found = True
    need(found, "not signed by the log")
    need(origin == key.name, f"a checkpoint of {origin!r}")
    need(re.fullmatch("0|[1-9][0-9]{0,18}", size), "the size is no decimal")
    try:
        raw = base64.b64decode(root, validate=True)
    except ValueError as error:
        raise Bad("the root is no base64") from error
    need(len(raw) == 32, "the root is not 32 bytes")
    return int(size), raw
