#!/usr/bin/env python3
"""Judges an audit bundle, or the vectors, from the specification in docs/spec alone.

    verify_bundle.py bundle FILE --trust trust.json
    verify_bundle.py vectors DIR
    verify_bundle.py lies DIR --trust trust.json     every *.cborseq in DIR must be found wrong

The trust file is JSON: log_keys (a list; log_key where there is one), broker_root, witnesses.

Exit code 0: nothing wrong; 1: errors; 2: unreadable. Hardware evidence is not appraised: only that
its REPORT_DATA binds the keyset is checked.
"""

import argparse
import base64
import json
import sys
from collections import defaultdict
from pathlib import Path

import vectors
from formats import (
    ACCOUNT, EVIDENCE, MAX_ITEM_BYTES, ORDER, PRICE_BOOK, RECORD, TENANT, Bad, LogKey, charge,
    decode, fixed, is_bytes, is_text, is_uint, is_unit, item_end, labelled, leaf_hash, message,
    most, need, open_checkpoint_of, root_by_proof, root_of, sha256, shaped,
)
from ledger import KINDS, Ledger
from showings import Showings
from supply import Supply

PROFILE = "urn:uuid:0c9b1f6e-58a4-4c7e-9d2b-6f1a3be77a01"
OUTCOMES = ["complete", "length", "client-gone", "customer-error", "enclave-error", "refused"]
CHECKS = [
    "checkpoint", "consistency", "inclusion", "leaf", "evidence", "epoch", "chain",
    "price-book", "blind-keys", "delegation", "order", "grant", "decision", "showing", "withheld", "receipt", "receipt-order", "receipt-leaf",
    "ledger", "settlement", "invoice", "supply",
]


class Verdict:
    """What was found, by check."""

    def __init__(self):
        self.examined, self.errors, self.open = defaultdict(int), [], []

    def judge(self, check, holds, what):
        self.examined[check] += 1
        if not holds:
            self.errors.append((check, what))
        return holds

    def leave_open(self, check, what):
        self.examined[check] += 1
        self.open.append((check, what))

    def attempt(self, check, what, action):
        """Runs `action`; a Bad becomes an error, and None is returned."""
        try:
            value = action()
        except Bad as error:
            self.judge(check, False, f"{what}: {error}")
            return None
        self.judge(check, True, what)
        return value

    def show(self):
        for check in CHECKS:
            wrong = sum(name == check for name, _ in self.errors)
            waiting = sum(name == check for name, _ in self.open)
            word = "FAIL" if wrong else "open" if waiting else "pass" if self.examined[check] else "-"
            print(f"  {word:<6}{check:<15}{self.examined[check]} examined")
        for check, what in self.errors:
            print(f"ERROR {check}: {what}")
        for check, what in self.open:
            print(f"open  {check}: {what}")
        print("CLEAN" if not self.errors else f"FOUND {len(self.errors)} errors")


HEADER = {1: is_text, 6: is_uint, (-70043, True): fixed(32), -70201: is_text}
INCLUSION = {-70210: is_uint, -70211: is_bytes,
             -70212: lambda path: type(path) is list and all(map(fixed(32), path))}
ORDERED = {-70220: is_bytes, -70221: is_bytes, -70222: is_bytes}
ARCHIVED = {6: is_uint, -70230: is_bytes}
TRANSFER = {
    (-70001, True): fixed(16), -70008: is_unit, -70240: is_uint, -70241: is_uint,
    -70242: lambda kind: is_uint(kind) and kind in KINDS, -70243: is_uint, -70244: is_uint,
    -70245: is_uint, (-70246, True): fixed(32), (-70247, True): is_text,
}
INVOICE = {-70008: is_unit, -70243: is_uint,
           -70250: lambda all_: type(all_) is list and all(map(fixed(32), all_)),
           -70251: is_uint, -70252: is_uint, -70253: is_uint, -70254: is_uint}
# By kind; None: a bstr. Openings (9) stand in proofs of receipts only, which this does not judge.
SHAPES = {0: HEADER, 1: None, 2: None, 3: INCLUSION, 4: None, 5: ORDERED, 6: ARCHIVED, 7: TRANSFER,
          8: INVOICE, 10: None}


def read_items(data):
    """The items of a bundle: lists of values by kind, strictly read."""
    items, at = defaultdict(list), 0
    while at < len(data):
        end = item_end(data, at)
        need(end is not None, "the bundle ends inside an item")
        need(end - at <= MAX_ITEM_BYTES, "an item is too long")
        item = decode(data[at:end])
        need(type(item) is list and len(item) == 2 and is_uint(item[0]), "not an item")
        kind, value = item
        need(kind in SHAPES, f"unknown item {kind}")
        need((kind == 0) == (at == 0), "the header is not first, or not alone")
        if SHAPES[kind]:
            shaped(value, SHAPES[kind], f"item {kind}")
        else:
            need(is_bytes(value), f"item {kind} is no bstr")
        items[kind].append(value)
        at = end
    need(items[0], "the bundle is empty")
    need(items[0][0][1] == "bulla-audit-bundle/1", "another format")
    return items


class Audit:
    """All checks over one bundle; one method per step of docs/spec/bundle.md."""

    def __init__(self, items, log_keys, root_key, witnesses):
        self.items, self.log_keys, self.root_key = items, log_keys, root_key
        self.witnesses = witnesses
        self.header = items[0][0]
        self.own = self.header.get(-70043)
        self.verdict = Verdict()
        self.judge = self.verdict.judge
        self.leaves = {}  # index -> parsed leaf
        self.hashes = []
        self.newest = self.newest_note = None
        self.books, self.delegations, self.keysets = {}, {}, defaultdict(set)
        self.reports, self.epochs = {}, {}
        self.orders, self.receipts, self.logged = {}, {}, {}
        # First grant of an order: leaf and time.
        self.granted, self.decided, self.decided_at = {}, set(), 0

    def run(self):
        self.checkpoints()
        self.log()
        self.evidence()
        self.public_records()
        self.chains()
        for ordered in self.items[5]:
            self.order(ordered)
        self.decisions()
        Showings(self, self.witnesses).run()
        for data in self.items[4]:
            self.receipt(data)
        self.receipts_among_themselves()
        Ledger(self).run()
        Supply(self).run()
        return self.verdict

    # log-leaf.md 1 to 4, and 8

    def checkpoints(self):
        own = self.header[-70201]
        named = any(key.name == own for key in self.log_keys)
        self.judge("checkpoint", named, f"a bundle of log {own!r}, whose key was not named")
        self.roots, name, given_up = [], None, set()
        for note in self.items[1]:
            opened = self.verdict.attempt(
                "checkpoint", "checkpoint", lambda: open_checkpoint_of(note, self.log_keys))
            if opened is None:
                continue
            origin, *head = opened
            if name not in (None, origin):
                given_up.add(name)
            name = origin
            self.judge("checkpoint", origin not in given_up,
                       f"{origin!r} was given up before, and signs {head[0]} leaves")
            if self.newest is not None:
                grows = self.newest[0] < head[0] or self.newest == head
                self.judge("checkpoint", grows, f"out of order or forked at {head[0]} leaves")
            self.newest, self.newest_note = head, note
            self.roots.append(head)
        if name is not None:
            self.judge("checkpoint", name == own,
                       f"the last checkpoint is of {name!r}, in a bundle of {own!r}")

    def log(self):
        if self.own is None:
            self.hashes = [leaf_hash(leaf) for leaf in self.items[2]]
            shown = enumerate(self.items[2])
            for size, root in self.roots:
                same = size <= len(self.hashes) and root_of(self.hashes[:size]) == root
                self.judge("consistency", same, f"the leaves do not lead to the root at {size}")
            size = self.newest[0] if self.newest else None
            self.judge("consistency", size == len(self.hashes),
                       f"{len(self.hashes)} leaves, the last checkpoint covers {size}")
        else:
            self.verdict.leave_open("consistency", "one account's view does not show the leaves")
            for item in self.items[3]:
                self.verdict.attempt("inclusion", f"leaf {item[-70210]}", lambda: self.included(item))
            shown = [(item[-70210], item[-70211]) for item in self.items[3]]
        for index, data in shown:
            leaf = self.verdict.attempt("leaf", f"leaf {index}", lambda: parse_leaf(data))
            if leaf is not None:
                self.leaves[index] = leaf

    def included(self, item):
        need(self.newest, "there is no checkpoint")
        size, root = self.newest
        path = root_by_proof(leaf_hash(item[-70211]), item[-70210], size, item[-70212])
        need(path == root, "the proof leads to another root")

    # epoch.md 1 and 2

    def evidence(self):
        for archived in self.items[6]:
            data = archived[-70230]
            keyset = self.verdict.attempt(
                "evidence", "attestation report", lambda: bound_keyset(data))
            if keyset is not None:
                in_time = archived[6] < keyset["not_after"]
                self.judge("evidence", in_time, "archived after its keyset ended")
                self.reports[labelled(EVIDENCE, data)] = keyset

    # order.md (price book), grant.md (delegation), epoch.md 3 to 7

    def public_records(self):
        opens = []
        newest_version = -1
        blind = (0, None)
        for index, leaf in sorted(self.leaves.items()):
            if leaf[0] == 3:
                self.keysets[sha256(leaf[1])].add(leaf[2])
            elif leaf[0] == 5:
                self.delegations.setdefault(labelled(RECORD, leaf[1]), index)
            elif leaf[0] == 1:
                opens.append((index, leaf[1]))
            elif leaf[0] == 9:
                keys = self.verdict.attempt(
                    "blind-keys", f"leaf {index}", lambda: message("blind", leaf[1]))
                if keys is None:
                    continue
                epoch, before = blind
                blind = (keys.claims[-70400], labelled(RECORD, leaf[1]))
                self.judge("blind-keys", keys.signed_by(self.root_key), "not signed by the broker")
                self.judge("blind-keys", keys.claims[-70400] == epoch + 1, "signed twice, or a gap")
                self.judge("blind-keys", keys.claims.get(-70403) == before, "follows another one")
            elif leaf[0] == 4:
                book = self.verdict.attempt(
                    "price-book", f"leaf {index}", lambda: message("book", leaf[1]))
                if book is None:
                    continue
                self.judge("price-book", book.signed_by(self.root_key), "not signed by the broker")
                rows = {(row[-70005], row[-70008]): row[-70009] for row in book.claims[-70103]}
                self.judge("price-book", len(rows) == len(book.claims[-70103]), "a row twice")
                version = book.claims[-70101]
                self.judge("price-book", version > newest_version, "versions do not rise")
                newest_version = max(version, newest_version)
                digest = labelled(PRICE_BOOK, leaf[1])
                self.books.setdefault(digest, (index, version, book.claims[-70102], rows,
                                               book.claims.get(-70105, [])))
        for index, data in opens:
            opened = self.verdict.attempt("epoch", f"leaf {index}", lambda: message("open", data))
            if opened is not None:
                self.open_epoch(index, opened)

    def open_epoch(self, index, record):
        claims = record.claims
        epoch, digest = claims[-70040], claims[-70004]
        name = f"epoch {epoch.hex()}"
        if not self.judge("epoch", epoch not in self.epochs, f"{name} is opened twice"):
            return
        self.judge("epoch", epoch == digest[:16], f"{name}: not the first half of its keyset")
        keyset = self.reports.get(claims[-70061])
        found = keyset is not None and keyset["digest"] == digest
        self.judge("evidence", found, f"{name}: its evidence is not in the bundle")
        if not found:
            keyset = None
        else:
            signed = any(record.signed_by(key) for key in keyset["receipt_keys"])
            self.judge("epoch", signed, f"{name}: not signed by its keyset")
            self.judge("epoch", keyset["instance"] == claims[1], f"{name}: another instance")
            self.judge("epoch", claims[6] <= keyset["not_after"], f"{name}: opened too late")
        self.judge("epoch", claims[-70061] in self.keysets[digest], f"{name}: keyset not logged")
        self.verdict.attempt("epoch", f"{name}: parent", lambda: self.parent(index, claims[-70060]))
        self.epochs[epoch] = {"claims": claims, "leaf": index, "keyset": keyset,
                              "digest": labelled(RECORD, record.data)}

    def parent(self, index, note):
        need(len(note) <= 24576, "too long")
        _, size, root = open_checkpoint_of(note, self.log_keys)
        need(size <= index, "younger than the record that names it")
        if self.own is None:
            need(root_of(self.hashes[:size]) == root, "not in this log's history")

    # epoch.md 8 and 9

    def chains(self):
        state, closed = {}, set()
        for index, leaf in sorted(self.leaves.items()):
            if leaf[0] == 1:
                for epoch, known in self.epochs.items():
                    if known["leaf"] == index:
                        state[epoch] = (1, known["digest"])
            elif leaf[0] == 0:
                _, epoch, seq, prev, digest = leaf
                self.judge("receipt", digest not in self.logged, f"leaf {index}: logged twice")
                self.logged.setdefault(digest, (index, epoch, seq, prev))
                self.link(state, closed, index, epoch, seq, prev, digest)
            elif leaf[0] == 8:
                self.decision(index, *leaf[1:])
            elif leaf[0] == 2:
                record = self.verdict.attempt(
                    "epoch", f"leaf {index}", lambda: message("close", leaf[1]))
                if record is not None:
                    self.close_epoch(state, closed, index, record)
        self.closed = closed
        for epoch in self.epochs.keys() - closed:
            self.verdict.leave_open("chain", f"epoch {epoch.hex()} is not closed")

    # log-leaf.md, decisions

    def decision(self, index, order, at, decision):
        self.judge("decision", at + 300 >= self.decided_at, f"leaf {index}: times run backwards")
        self.decided_at = max(at, self.decided_at)
        self.decided.add(order)
        if decision == "granted":
            fresh = order not in self.granted
            self.judge("decision", fresh, f"leaf {index}: granted a second time")
            self.granted.setdefault(order, (index, at))

    def decisions(self):
        for digest, order in self.orders.items():
            name = f"order for hold {order['claims'][-70001].hex()}"
            granted = self.granted.get(digest)
            if self.judge("decision", granted is not None, f"{name}: its grant is not logged"):
                apart = abs(granted[1] - order["granted_at"])
                self.judge("decision", apart <= 300, f"{name}: logged at another time")
        if self.own is None:
            for digest, (index, _) in self.granted.items():
                self.judge("decision", digest in self.orders,
                           f"leaf {index}: grants an order that is not in the bundle")

    def close_epoch(self, state, closed, index, record):
        claims = record.claims
        epoch = self.epochs.get(claims[-70040])
        self.link(state, closed, index, claims[-70040], claims[-70041], claims[-70042],
                  labelled(RECORD, record.data))
        closed.add(claims[-70040])
        if not self.judge("chain", epoch is not None, f"leaf {index} closes an unknown epoch"):
            return
        opened = epoch["claims"]
        same = (claims[1], claims[-70004]) == (opened[1], opened[-70004])
        self.judge("epoch", same and claims[6] >= opened[6], f"leaf {index}: not its epoch's close")
        if epoch["keyset"]:
            signed = any(record.signed_by(key) for key in epoch["keyset"]["receipt_keys"])
            self.judge("epoch", signed, f"leaf {index}: not signed by its keyset")

    def link(self, state, closed, index, epoch, seq, prev, digest):
        if self.own is not None:
            return
        name = f"leaf {index}, place {seq} of epoch {epoch.hex()}"
        if not self.judge("chain", epoch in state, f"{name}: before its epoch was opened"):
            state[epoch] = (seq, prev)
        self.judge("chain", epoch not in closed, f"{name}: after its epoch was closed")
        expected, before = state[epoch]
        if self.judge("chain", seq == expected, f"{name}: place {expected} comes next"):
            self.judge("chain", prev == before, f"{name}: names another predecessor")
        if seq >= expected:
            state[epoch] = (seq + 1, digest)

    # order.md, grant.md

    def order(self, ordered):
        order = self.verdict.attempt("order", "order", lambda: message("order", ordered[-70220]))
        if order is None:
            return
        claims, digest = order.claims, labelled(ORDER, order.data)
        name = f"order for hold {claims[-70001].hex()}"
        self.judge("order", order.signed_by(claims[-70002]), f"{name}: not signed by its key")
        fresh = all(known["claims"][-70001] != claims[-70001] for known in self.orders.values())
        self.judge("order", fresh, f"{name}: the hold is named by another order")
        self.judge("order", claims[6] <= claims[4], f"{name}: over before it began")
        delegation, grant = ordered[-70222], ordered[-70221]
        delegation_leaf = self.delegations.get(labelled(RECORD, delegation))
        self.judge("delegation", delegation_leaf is not None, f"{name}: delegation not logged")
        delegated = self.verdict.attempt(
            "delegation", name, lambda: message("delegation", delegation))
        granted = self.verdict.attempt("grant", name, lambda: message("grant", grant))
        at = claims[6]
        if granted is not None:
            at = granted.claims[6]
            self.grant(name, claims, digest, granted, delegated)
        self.price("order", name, claims, at)
        cost = most(claims[-70009], claims[-70006], claims[-70007])
        self.orders[digest] = {
            "claims": claims, "account": labelled(ACCOUNT, claims[-70002]),
            "to_hold": min(cost, claims[-70011]), "delegation_leaf": delegation_leaf,
            "settle_by": granted.claims[-70023] if granted else None, "granted_at": at,
        }

    def grant(self, name, order, digest, granted, delegated):
        claims = granted.claims
        if delegated is not None:
            self.judge("delegation", delegated.signed_by(self.root_key),
                       f"{name}: delegation not signed by the broker")
            window = delegated.claims[6] <= claims[6] <= delegated.claims[4]
            self.judge("delegation", window, f"{name}: granted outside its delegation")
            self.judge("grant", granted.signed_by(delegated.claims[-70030]),
                       f"{name}: grant not signed by the delegated key")
        self.judge("grant", claims[-70020] == digest, f"{name}: a grant for another order")
        self.judge("grant", claims[-70004] == order[-70004], f"{name}: for another keyset")
        self.judge("grant", claims[6] <= order[4], f"{name}: granted after its end")
        self.judge("grant", order[6] <= claims[6] + 300, f"{name}: ordered after the grant")
        instants = [claims[6], claims[-70021], claims[-70022], claims[-70023]]
        self.judge("grant", instants == sorted(instants), f"{name}: instants out of order")

    def price(self, check, name, claims, at):
        book = self.books.get(claims[-70010])
        if not self.judge(check, book is not None, f"{name}: its price book is not logged"):
            return
        _, version, effective_from, rows, variants = book
        later = [v for _, v, start, *_ in self.books.values() if v > version and start <= at]
        in_force = effective_from <= at and not later
        self.judge(check, in_force, f"{name}: its price book is not in force")
        rates, what = claims[-70009], (claims[-70005], claims[-70008])
        # A receipt names the payer's account handle, an order its key.
        payer = claims[-70043] if -70043 in claims else labelled(ACCOUNT, claims[-70002])
        tenants = (None, labelled(TENANT, payer))
        variant = any((one[-70005], one[-70008]) == what and one[-70009] == rates
                      and one.get(-70107) in tenants for one in variants)
        self.judge(check, variant or rows.get(what) == rates,
                   f"{name}: rates are not those of the price book")

    # usage-receipt.md

    def receipt(self, data):
        receipt = self.verdict.attempt("receipt", "receipt", lambda: message("receipt", data))
        if receipt is None:
            return
        claims, digest = receipt.claims, labelled(RECORD, data)
        name = f"receipt {claims[7].hex()}"
        same_id = any(known[7] == claims[7] for known in self.receipts.values())
        self.judge("receipt", digest not in self.receipts and not same_id, f"{name}: there twice")
        self.receipts[digest] = claims
        self.judge("receipt", claims[265] == PROFILE, f"{name}: another profile")
        self.judge("receipt", len(claims[-70044].encode()) <= 64, f"{name}: accelerator too long")
        answered = claims[-70048] <= 1 and claims[-70055] == 0
        self.judge("receipt", not answered or (-70051 in claims and -70052 in claims),
                   f"{name}: no commitments")
        self.receipt_epoch(name, receipt)
        self.receipt_charge(name, claims)
        self.receipt_order(name, claims)
        self.receipt_leaf(name, digest, claims)

    def receipt_epoch(self, name, receipt):
        claims, epoch = receipt.claims, self.epochs.get(receipt.claims[-70040])
        if not self.judge("receipt", epoch is not None, f"{name}: its epoch was not opened"):
            return
        opened, keyset = epoch["claims"], epoch["keyset"]
        same = all(claims[key] == opened[key] for key in (1, -70004, -70053))
        self.judge("receipt", same, f"{name}: issuer, keyset or configuration is not its epoch's")
        self.judge("receipt", claims[6] >= opened[6], f"{name}: signed before its epoch")
        if keyset:
            signed = any(receipt.signed_by(key) for key in keyset["receipt_keys"])
            self.judge("receipt", signed, f"{name}: not signed by its epoch's keyset")
            self.judge("receipt", claims[6] <= keyset["not_after"], f"{name}: signed too late")

    def receipt_charge(self, name, claims):
        entered, cached, output, reasoning = claims[-70046]
        counted = (cached <= entered and reasoning <= output
                   and output <= claims[-70049] and claims[-70050] <= claims[-70049])
        self.judge("receipt", counted, f"{name}: the usage contradicts itself")
        outcome, paid = claims[-70048], claims[-70047]
        expected = 0
        if outcome <= 3:
            expected = self.verdict.attempt(
                "receipt", name, lambda: charge(claims[-70009], claims[-70046]))
        waived = outcome == 3 and paid == 0
        self.judge("receipt", waived or paid == expected,
                   f"{name}: {OUTCOMES[outcome]} costs {expected}, charged are {paid}")

    def receipt_order(self, name, claims):
        if claims[-70055] == 1:
            self.verdict.leave_open("receipt-order", f"{name}: broker-vouched")
            return self.price("receipt-order", name, claims, claims[6])
        order = self.orders.get(claims[-70020])
        if not self.judge("receipt-order", order is not None, f"{name}: its order is not here"):
            return
        ordered = order["claims"]
        keys = (-70001, -70004, -70005, -70008, -70009, -70010)
        differing = [key for key in keys if claims[key] != ordered[key]]
        self.judge("receipt-order", not differing, f"{name}: differs in claims {differing}")
        self.judge("receipt-order", claims[-70043] == order["account"], f"{name}: other account")
        entered, _, output, _ = claims[-70046]
        within = entered <= ordered[-70006] and output <= ordered[-70007]
        self.judge("receipt-order", within, f"{name}: above its order's ceilings")
        self.judge("receipt-order", claims[-70047] <= ordered[-70011], f"{name}: above its maximum")

    def receipt_leaf(self, name, digest, claims):
        leaf = self.logged.get(digest)
        epoch, seq = claims[-70040], claims[-70041]
        if leaf is None:
            later = any(e == epoch and s >= seq for _, e, s, _ in self.logged.values())
            if epoch in self.closed or later:
                self.judge("receipt-leaf", False, f"{name}: not in the log")
            else:
                self.verdict.leave_open("receipt-leaf", f"{name}: not in the log yet")
            return
        self.judge("receipt-leaf", leaf[1:] == (epoch, seq, claims[-70042]), f"{name}: leaf differs")
        order = self.orders.get(claims[-70020])
        rests_on = [
            self.epochs[epoch]["leaf"] if epoch in self.epochs else None,
            self.books[claims[-70010]][0] if claims[-70010] in self.books else None,
            order["delegation_leaf"] if order else None,
            self.granted.get(claims[-70020], (None,))[0],
        ]
        before = all(index < leaf[0] for index in rests_on if index is not None)
        self.judge("receipt-leaf", before, f"{name}: logged before what it rests on")

    def receipts_among_themselves(self):
        if self.own is None:
            for digest, (index, *_) in self.logged.items():
                self.judge("receipt-leaf", digest in self.receipts,
                           f"leaf {index}: its receipt is not in the bundle")
        by_place = sorted(self.receipts.values(), key=lambda claims: (claims[-70040], claims[-70041]))
        for one, two in zip(by_place, by_place[1:]):
            if one[-70040] == two[-70040]:
                name = f"receipt {two[7].hex()}"
                self.judge("receipt", one[-70041] != two[-70041], f"{name}: its place is taken")
                self.judge("receipt", one[6] <= two[6], f"{name}: time runs backwards")
        self.of_hold = defaultdict(list)
        for claims in by_place:
            self.of_hold[claims[-70001]].append(claims)
        for hold, all_ in self.of_hold.items():
            finals = [claims for claims in all_ if -70056 not in claims]
            interims = [claims for claims in all_ if -70056 in claims]
            name = f"hold {hold.hex()}"
            self.judge("receipt", len(finals) <= 1, f"{name}: {len(finals)} final receipts")
            numbers = [claims[-70056] for claims in interims]
            self.judge("receipt", numbers == list(range(len(numbers))), f"{name}: interims {numbers}")
            if finals and interims:
                last = finals[0]
                after = all(c[-70040] == last[-70040] and c[-70041] < last[-70041] for c in interims)
                self.judge("receipt", after, f"{name}: an interim receipt after the final one")
            free = finals and finals[0][-70047] == 0
            series = interims + ([] if free else finals[:1])
            for one, two in zip(series, series[1:]):
                grows = one[-70046][0] <= two[-70046][0] and one[-70046][2] <= two[-70046][2]
                self.judge("receipt", grows, f"{name}: receipts count backwards")


DECISIONS = {
    "granted", "expired", "from-the-future", "no-instance", "stale-keyset", "keyset-ending",
    "no-model", "no-price-book", "stale-book", "no-price", "rates", "amount", "max-charge",
    "context", "insufficient-balance", "over-budget", "hold-conflict", "rate-limited", "busy",
    "starting", "not-received", "unknown-key",
}
LEAF_SHAPES = {
    0: [fixed(16), is_uint, fixed(32), fixed(32)], 1: [is_bytes], 2: [is_bytes],
    3: [is_bytes, fixed(32)], 4: [is_bytes], 5: [is_bytes], 6: [is_bytes], 7: [fixed(32)],
    8: [fixed(32), is_uint, lambda text: is_text(text) and text in DECISIONS],
    9: [is_bytes],
}


def parse_leaf(data):
    need(len(data) <= 65_535, "too long")
    leaf = decode(data)
    need(type(leaf) is list and leaf and is_uint(leaf[0]), "not a leaf")
    shape = LEAF_SHAPES.get(leaf[0])
    need(shape and len(leaf) == len(shape) + 1, f"unknown leaf {leaf[0]}")
    need(all(test(part) for test, part in zip(shape, leaf[1:])), "a part is not of its type")
    if leaf[0] == 3:
        need(jcs(json.loads(leaf[1])) == leaf[1], "the keyset is not in its JCS form")
    return leaf


def jcs(value):
    """RFC 8785 for documents of texts and integers, which is what a keyset is."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


def bound_keyset(data):
    """The keyset of an attestation report, when the report's REPORT_DATA binds it."""
    try:
        attestation = json.loads(data)["attestation"]
        keyset = attestation["workload_keyset"]
        nonce = attestation.get("nonce")
        report = base64.b64decode(attestation["evidence"]["report"], validate=True)
        subject = keyset["subject"] or ""
        entries = [entry for entry in keyset["receipt_signing_keys"] if entry["algo"] == "ed25519"]
        receipt_keys = [bytes.fromhex(entry["public_key"]) for entry in entries]
        not_after = keyset["not_after"]
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(f"not an attestation report: {error!r}") from error
    digest = sha256(jcs(keyset))
    slot = report[0x50:0x90]
    need(len(slot) == 64 and slot[32:] == bytes(32), "REPORT_DATA is not padded with zeros")
    need(slot[:32] in {statement(digest, nonce), statement(digest, None)},
         "REPORT_DATA does not bind this keyset")
    instance = subject.removeprefix("bulla://").split("/")[0]
    return {"digest": digest, "receipt_keys": receipt_keys, "not_after": not_after,
            "instance": instance}


def statement(digest, nonce):
    nonce = "null" if nonce is None else f'"{nonce}"'
    text = (f'{{"keyset_digest":"sha256:{digest.hex()}","nonce":{nonce},'
            '"purpose":"aci.report_data.v1"}')
    return sha256(text.encode())


def verify(data, trust):
    """Judges a bundle; raises Bad when it cannot be read."""
    items = read_items(data)
    root = bytes.fromhex(trust["broker_root"])
    keys = trust.get("log_keys", []) + [trust[key] for key in ("log_key",) if key in trust]
    need(keys, "the trust file names no log_keys")
    return Audit(items, [LogKey(key) for key in keys], root, trust.get("witnesses", [])).run()


# Lies that only an appraisal of the hardware evidence can name.
NEEDS_APPRAISAL = {"receipt_says_hardware"}


def find_all(folder, trust):
    """Names every bundle in which nothing is found; returns the exit code."""
    paths = sorted(folder.glob("*.cborseq"))
    missed = 0
    for path in paths:
        try:
            errors = verify(path.read_bytes(), trust).errors
            found = sorted({check for check, _ in errors})
        except Bad as error:
            found = [f"unreadable: {error}"]
        if not found and path.stem in NEEDS_APPRAISAL:
            found = ["out of scope: needs an appraisal"]
        missed += not found
        print(f"  {'found' if found else 'MISSED':<7}{path.stem:<52}{', '.join(found)}")
    print(f"{len(paths) - missed} of {len(paths)} found")
    return 1 if missed or not paths else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    bundle = commands.add_parser("bundle", help="judge an audit bundle")
    bundle.add_argument("file", type=Path)
    bundle.add_argument("--trust", type=Path, required=True, help="log_keys and broker_root, JSON")
    reproduce = commands.add_parser("vectors", help="reproduce the vectors")
    reproduce.add_argument("folder", type=Path)
    lies = commands.add_parser("lies", help="every bundle of a folder must be found wrong")
    lies.add_argument("folder", type=Path)
    lies.add_argument("--trust", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "vectors":
        sys.exit(vectors.check(arguments.folder))
    if arguments.command == "lies":
        sys.exit(find_all(arguments.folder, json.loads(arguments.trust.read_text())))
    trust = json.loads(arguments.trust.read_text())
    try:
        verdict = verify(arguments.file.read_bytes(), trust)
    except Bad as error:
        print(f"UNREADABLE: {error}")
        sys.exit(2)
    verdict.show()
    sys.exit(1 if verdict.errors else 0)


if __name__ == "__main__":
    main()
