"""Seeded generator of invoice lines and the JSON a reader should return for them.

    python data.py held-out 200 > held-out.jsonl     # the shipped held-out set
    python data.py train 20                          # look at training conversations

Split by construction: `words.held_out` hashes every vendor stem, item noun and invoice number; training
lines use only words on one side, held-out lines only words on the other. Nothing real is used.
"""

import json
import random
import sys

import talk
import words

FIELDS = ["vendor", "invoice", "item", "quantity", "unit_price", "total", "currency", "due"]
SLOTS = {"{v}": "vendor", "{n}": "invoice", "{i}": "item", "{q}": "quantity", "{p}": "unit_price", "{t}": "total", "{d}": "due"}
MONTHS = "January February March April May June July August September October November December".split()
MONATE = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
SIGNS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹"}
SMALL = "zero one two three four five six seven eight nine ten eleven twelve".split()
NOT_DUE = ["dated {}", "issued {}", "invoice date {}", "ordered on {}", "delivered {}", "received {}", "of {}"]


def date(rng):
    """A date as written and in ISO form; slashes are day first."""
    year, month, day = rng.randint(2023, 2031), rng.randint(1, 12), rng.randint(1, 28)
    if rng.random() < 0.12:
        day = {2: 28, 4: 30, 6: 30, 9: 30, 11: 30}.get(month, 31) - rng.randint(0, 1)
    name = MONTHS[month - 1]
    th = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    text = rng.choice([
        f"{year}-{month:02d}-{day:02d}", f"{year}-{month:02d}-{day:02d}", f"{year}-{month:02d}-{day:02d}", f"{day:02d}.{month:02d}.{year}",
        f"{day}.{month}.{year}", f"{day:02d}.{month:02d}.{year % 100}", f"{day} {name} {year}", f"{day} {name[:3]} {year}", f"{name} {day}, {year}",
        f"{name[:3]} {day}, {year}", f"{name} {day} {year}", f"{day}{th} {name} {year}", f"{name} {day}{th}, {year}", f"{day:02d}/{month:02d}/{year}",
        f"{day:02d}-{name[:3]}-{year}", f"{year}/{month:02d}/{day:02d}", f"{day}. {MONATE[month - 1]} {year}",
    ])  # fmt: skip
    return text, f"{year}-{month:02d}-{day:02d}"


class Money:
    """One line's way of writing amounts: currency, its place, separators."""

    def __init__(self, rng):
        self.currency = rng.choices(["EUR", "USD", "GBP", "CHF", "SEK", "JPY", "INR", "CAD", "AUD", "NOK", "PLN", None], [30, 22, 12, 8, 4, 3, 3, 3, 3, 2, 2, 8])[0]
        sign = SIGNS.get(self.currency)
        code = self.currency or ""
        marks = [f"{code} {{}}", f"{{}} {code}"] + ([f"{sign}{{}}", f"{sign}{{}}", f"{{}} {sign}", f"{sign} {{}}", f"{{}}{sign}"] if sign else [f"{code}{{}}"])
        self.mark = rng.choice(marks) if self.currency else "{}"
        self.thousands, self.decimal = rng.choice([(",", "."), (",", "."), ("", "."), ("", "."), (".", ","), (".", ","), ("", ","), ("'", ".")])

    def amount(self, rng, cents):
        """The amount as written; a bare group of three digits after a separator is always thousands."""
        whole, part = divmod(cents, 100)
        text = f"{whole:,}".replace(",", self.thousands)
        if part or rng.random() < 0.6:
            text += f"{self.decimal}{part:02d}"
        return text

    def write(self, rng, cents):
        return self.mark.format(self.amount(rng, cents))


def quantity(rng):
    """How many, as written and as a JSON number."""
    kind = rng.random()
    if kind < 0.05:
        n = rng.randint(1, 12)
        return SMALL[n], n
    if kind < 0.09:
        n = rng.randint(1, 40) + rng.choice([0.5, 0.25, 0.75])
        return str(n), n
    n = rng.choice([1, 2, rng.randint(1, 12), rng.randint(1, 60), rng.randint(10, 999), rng.randint(1, 5000)])
    return str(n), n


class Line:
    """The values of one invoice line and the pieces of text that say them."""

    def __init__(self, rng, held):
        self.rng = rng
        case = rng.choices([str, str.lower, str.upper], [86, 8, 6])[0]
        self.case = case
        self.money = Money(rng)
        self.vendor, self.item, self.invoice = case(words.vendor(rng, held)), case(words.item(rng, held)), case(words.number(rng, held))
        self.qty_text, self.qty = quantity(rng)
        cents = int(10 ** rng.uniform(1.7, 6.2))
        cents = cents if rng.random() < 0.7 else max(1, cents // 100) * 100
        self.price = self.money.write(rng, cents)
        self.price_value = f"{cents // 100}.{cents % 100:02d}"
        total = int(round(cents * self.qty)) if rng.random() < 0.8 else cents + rng.randint(1, 99999)
        self.total = self.money.write(rng, total)
        self.total_value = f"{total // 100}.{total % 100:02d}"
        self.due, self.due_value = date(rng)

    def answer(self, used):
        """The expected JSON: fields that the text names, null for the others."""
        values = {
            "vendor": self.vendor, "invoice": self.invoice, "item": self.item, "quantity": self.qty, "unit_price": self.price_value,
            "total": self.total_value, "currency": self.money.currency, "due": self.due_value,
        }  # fmt: skip
        if not {"unit_price", "total"} & used:
            used = used - {"currency"}
        return json.dumps({k: values[k] if k in used else None for k in FIELDS}, ensure_ascii=False, separators=(",", ":"))

    def noise(self):
        """Something a reader must not take for a field."""
        rng = self.rng
        return rng.choice([
            rng.choice(NOT_DUE).format(date(rng)[0]), f"PO {rng.randint(100, 99999)}", f"order {words.code(rng)}", "net 30", "30 days net",
            f"incl. {rng.choice([7, 19, 20, 21, 25])}% VAT", "excl. VAT", "VAT included", f"customer no. {rng.randint(1000, 99999)}", "thank you", "urgent", "approved",
            f"cost centre {rng.randint(100, 9999)}", f"attn. {words.stem(rng, False).capitalize()}", "paid by card", "by bank transfer", "second reminder", "delivery free",
        ])  # fmt: skip


def clauses(line):
    """Short clauses in any order, joined by one separator."""
    rng, L = line.rng, line
    parts = []
    phrase = rng.choice(["from {}", "by {}", "supplier {}", "vendor {}", "issued by {}", "{}", "{}", "von {}", "seller: {}", "billed by {}", "payee {}"])
    bare = phrase == "{}"  # then only its place, the first, tells the vendor from the item
    if rng.random() < 0.92:
        parts.append(({"vendor"}, phrase.format(L.vendor)))
    if rng.random() < 0.85:
        parts.append(({"invoice"}, rng.choice(["invoice {}", "Invoice {}", "invoice no. {}", "Inv. {}", "INV {}", "inv {}", "bill {}", "invoice #{}", "Invoice number {}", "ref {}", "ref. {}", "#{}", "Rechnung {}", "Rechnung Nr. {}", "bill no {}", "No. {}"]).format(L.invoice)))
    goods = rng.choice([
        ("iqp", "{q} x {i} at {p}"), ("iqp", "{q} {i} @ {p}"), ("iqp", "{i}, {q} pcs at {p} each"), ("iqp", "{q}x {i}, {p} per unit"), ("iqp", "{i} ({q} units, {p} each)"),
        ("iqp", "{i} x{q} @{p}"), ("iqp", "{q} pcs {i} at {p}"), ("iqp", "{q} × {i}, unit price {p}"), ("iqp", "{i}: {q} @ {p}"), ("iqp", "{q} {i} for {p} each"),
        ("iq", "{q} x {i}"), ("iq", "{q} {i}"), ("i", "{i}"), ("i", "for {i}"), ("iq", "{i} qty {q}"), ("iq", "{q} units of {i}"), ("ip", "{i} at {p} each"), ("iqp", "{i} {q} x {p}"),
        ("iqp", "{q} Stk {i} zu {p}"), ("iqp", "{q} x {i} je {p}"), ("iqp", "qty {q}, {i}, unit price {p}"), ("", ""),
    ])  # fmt: skip
    names = {"i": "item", "q": "quantity", "p": "unit_price"}
    if goods[0]:
        parts.append(({names[c] for c in goods[0]}, goods[1].format(q=L.qty_text, i=L.item, p=L.price)))
    if rng.random() < (0.3 if "p" in goods[0] else 0.9):
        parts.append(({"total"}, rng.choice(["total {}", "Total: {}", "total of {}", "amount {}", "amount due {}", "sum {}", "in total {}", "totalling {}", "Gesamt {}", "balance {}", "= {}"]).format(L.total)))
    if rng.random() < 0.75:
        parts.append(({"due"}, rng.choice(["due {}", "due {}", "due on {}", "due by {}", "payable by {}", "pay by {}", "payment due {}", "due date {}", "fällig {}", "fällig am {}", "Due: {}", "payable until {}"]).format(L.due)))
    if rng.random() < 0.22:
        parts.append((set(), L.noise()))
    if rng.random() < 0.4 and not bare:
        rng.shuffle(parts)
    used = set().union(*(p[0] for p in parts)) | {"currency"}
    return rng.choice([", ", ", ", " ", " - ", "; ", " | ", ". ", " / ", "\n", ": "]).join(p[1] for p in parts), used


LABELS = {
    "vendor": ["Vendor", "Supplier", "From", "Seller", "Company", "Lieferant", "Payee"], "invoice": ["Invoice", "Invoice no.", "Inv", "Number", "Reference", "Invoice number", "Rechnung", "Bill"],
    "item": ["Item", "Description", "Product", "Article", "Artikel", "For"], "quantity": ["Qty", "Quantity", "Count", "Units", "Menge"], "unit_price": ["Unit price", "Price", "Price each", "Rate", "Each", "Stückpreis"],
    "total": ["Total", "Amount", "Amount due", "Sum", "Balance", "Gesamt"], "due": ["Due", "Due date", "Pay by", "Payable by", "Payment due", "Fällig"],
}  # fmt: skip


def labelled(line):
    """`Label: value` pairs in any order, a subset of the fields."""
    rng, L = line.rng, line
    text = {"vendor": L.vendor, "invoice": L.invoice, "item": L.item, "quantity": L.qty_text, "unit_price": L.price, "total": L.total, "due": L.due}
    used = [f for f in text if rng.random() < 0.75]
    if len(used) < 2:
        used = ["vendor", "invoice", "total"]
    if rng.random() < 0.6:
        rng.shuffle(used)
    colon = rng.choice([": ", ": ", ":", " = ", " "])
    spell = str.lower if rng.random() < 0.2 else str
    parts = [spell(rng.choice(LABELS[f])) + colon + text[f] for f in used]
    if rng.random() < 0.2:
        parts.insert(rng.randint(0, len(parts)), L.noise())
    return rng.choice(["; ", ", ", " | ", "\n", " / ", " ", ". "]).join(parts), set(used) | {"currency"}


def table(line):
    """A ledger or CSV row: bare values in the usual column orders, empty cells allowed."""
    rng, L = line.rng, line
    amount_only = rng.random() < 0.5
    order = rng.choice(["v n i q p c d", "n v i q p c d", "d v n i q p c", "v n i q p t c d", "v i q p c n d", "n v t c d", "v n t c d", "d n v t c"]).split()
    cells, used = [], set()
    names = {"v": "vendor", "n": "invoice", "i": "item", "q": "quantity", "p": "unit_price", "t": "total", "c": "currency", "d": "due"}
    strip = (lambda s: "".join(c for c in s if c.isdigit() or c in ".,'").strip()) if amount_only else str
    if amount_only and L.money.currency is None:
        order.remove("c")
    text = {"v": L.vendor, "n": L.invoice, "i": L.item, "q": L.qty_text, "p": strip(L.price), "t": strip(L.total), "c": L.money.currency or "", "d": L.due}
    for column in order:
        if column == "c" and not amount_only:
            continue
        if column in "niqd" and rng.random() < 0.04:
            cells.append("-" if rng.random() < 0.5 else "")
            continue
        cells.append(text[column])
        used.add(names[column])
    clash = any("," in c for c in cells)
    return rng.choice([";", " ; ", "\t", " | ", "|", "; "] + ([] if clash else [",", ",", ", "])).join(cells), used | {"currency"}


SENTENCES = """Invoice {n} from {v}: {q} x {i} at {p}, due {d}
Invoice {n} from {v}: {q} x {i} at {p}, due {d}
Invoice {n} from {v}: {q} {i} at {p} each, due {d}.
Invoice {n} by {v} for {q} {i} at {p} each, payable by {d}
Invoice {n}, {v}, {i}, {t}, due {d}
Hi, please pay {v} {t} for {q} {i} by {d}, reference {n}. Thanks!
Hello, attached is invoice {n} from {v} over {t} for {i}, due on {d}.
Dear accounting, {v} has billed us {t} for {q} {i} ({p} each). Invoice {n} is due {d}.
Could you settle {n} from {v}? It is {t} for {i} and due {d}.
We received {q} {i} from {v} at {p} each; invoice {n}, payable until {d}.
{v} sent us a bill of {t} for {i}, number {n}.
{v} charges {p} per piece for {q} {i}, invoice {n}, due {d}.
Payment of {t} to {v}, ref {n}, due {d}
Payment to {v}: {t}, invoice {n}
Paid {v} {t} ref {n}
Transfer {t} to {v} for invoice {n} by {d}
Please transfer {t} to {v} before {d}, reference {n}.
{t} to {v} for {i}
Bought {q} {i} from {v} for {p} each, bill {n}
Bought {i} from {v} for {t}
Our order of {q} {i} from {v} costs {p} each, total {t}, invoice {n}, due {d}.
{v} invoice {n} {q} {i} {p} due {d}
{v} / {n} / {i} / {q} @ {p} / {d}
{v} {n} {t}
{v} {n} {i} {t} due {d}
{n} {v} {q}x {i} @ {p} due {d}
{n} - {v} - {i} - {q} x {p} - due {d}
{q} x {i}, {p} each, from {v}, invoice {n}, due {d}
{q} {i} at {p} from {v}
{q} {i} @ {p}, {v}, inv {n}
Reminder: invoice {n} of {v} over {t} was due on {d}.
Reminder from {v}: {t} for invoice {n} are due on {d}
Overdue: {v}, invoice {n}, {t}, due date {d}
Subject: invoice {n} from {v}. We delivered {q} {i} at {p} each. Please pay {t} by {d}.
Hi team, the bill from {v} for {q} {i} came in: {n}, {p} each, {t} in total, due {d}. Regards
Please approve {n}: {v} wants {t} for {i}.
{v} bills {q} hours of {i} at {p} per hour, invoice {n}, due {d}
Rechnung {n} von {v}: {q} x {i} zu {p}, fällig am {d}
Rechnung {n} von {v} über {t} für {i}, zahlbar bis {d}
Bitte {t} an {v} überweisen, Rechnung {n}, fällig {d}
Facture {n} de {v} : {q} x {i} à {p}, échéance {d}
We owe {v} {t} for {q} {i}, due {d}
{d}: {t} due to {v} for invoice {n}
By {d} we must pay {v} {t} (invoice {n}).
I need you to pay invoice {n} for {i} today, it is {t} to {v}.
Purchase: {q} {i}, {p} per unit, supplier {v}, due {d}
{v}: {q} x {i} = {t}, invoice {n}
The {i} from {v} cost {t}, see invoice {n}""".splitlines()


def sentence(line):
    """A whole sentence as people write it in e-mails, reminders and ledgers."""
    rng, L = line.rng, line
    text = rng.choice(SENTENCES)
    used = {name for slot, name in SLOTS.items() if slot in text} | {"currency"}
    text = text.format(v=L.vendor, n=L.invoice, i=L.item, q=L.qty_text, p=L.price, t=L.total, d=L.due)
    if rng.random() < 0.1:
        text += rng.choice([" ({})", ", {}", " - {}", "; {}"]).format(L.noise())
    return text, used


OPENERS = ["Hi, ", "Hello, ", "FYI: ", "Note: ", "Good morning, ", "Hi all, ", "Reminder: ", "Please note: ", "Dear team, ", "New bill: ", "To pay: ", "Todo: ", "Update: ", "Quick one: "]
CLOSERS = [" Thanks", " Thanks!", " Regards", " Best wishes", " Please approve.", " Please check.", " Let me know.", " Cheers", " Thank you."]
SELLS = """{v} bills us|{v} charges us|{v} charges|{v} invoiced us|{v} has invoiced|{v} wants|{v} asks for|{v} sent an invoice over|{v} sent us a bill for|we got a bill from {v} for|we bought from {v}
|we ordered at {v}|the bill of {v} says|the invoice from {v} lists|our supplier {v} delivered|{v} sold us|{v} supplied|{v} shipped|please pay {v}|please pay {v} for|settle with {v}|we owe {v}
|I paid {v}|you owe {v}|{v} is waiting for|{v} expects|there is a bill from {v} for|received from {v}|bought at {v}|supplied by {v}""".replace("\n", "").split("|")
GOODS = """{q} {i} at {p} each|{q} {i} at {p} apiece|{q} {i}, {p} a piece|{q} x {i} priced at {p}|{q} {i}, each {p}|{q} {i} for {p} each|{q} pieces of {i} at {p}|{i}, {q} pieces at {p}|{q} {i} ({p} per unit)
|{q} units of {i} at {p} per unit|{p} each for {q} {i}|{t} for {q} {i}|{t} for {i}|{t} ({i})|{t} for {q} x {i}|{i} for {t}|{q} {i} for {t} in total|{q} {i}, {t} in total|{q} {i}, that is {t}|{t}
|{q} {i} at {p} each, {t} in total|{q} x {i} @ {p} = {t}|{q} {i} ({p} each, {t} altogether)|{i} worth {t}|{q} {i} worth {t}|{q} {i} à {p}""".replace("\n", "").split("|")
NUMBERS = """invoice {n}|number {n}|invoice number {n}|the invoice is {n}|the invoice number is {n}|see invoice {n}|their reference is {n}|reference {n}|under {n}|bill {n}|bill number {n}|the number is {n}|(invoice {n})
|(no. {n})|[{n}]|document {n}|as per invoice {n}|quoting {n}""".replace("\n", "").split("|")
DUES = """due {d}|due on {d}|deadline {d}|the deadline is {d}|to be paid by {d}|payable on {d}|we have until {d}|until {d}|latest {d}|no later than {d}|it falls due on {d}|it is due {d}|must be paid by {d}|pay before {d}
|payment by {d}|which is due on {d}|on or before {d}|expected by {d}|it was due {d}|and it is due on {d}""".replace("\n", "").split("|")


def prose(line):
    """A sentence put together from an opener, who sells what, the number and the date, in changing order."""
    rng, L = line.rng, line
    head = rng.choice(SELLS) + " " + rng.choice(GOODS)
    tail = [rng.choice(phrases) for phrases, chance in ((NUMBERS, 0.8), (DUES, 0.7)) if rng.random() < chance]
    rng.shuffle(tail)
    joint = rng.choice([", ", ", ", " - ", "; ", " "])
    if tail and rng.random() < 0.2:
        text = joint.join([tail.pop(), head] + tail)
    else:
        text = joint.join([head] + tail)
    if rng.random() < 0.5 and not text.startswith(("{", "(", "[")):
        text = text[0].upper() + text[1:]
    used = {name for slot, name in SLOTS.items() if slot in text} | {"currency"}
    text = text.format(v=L.vendor, n=L.invoice, i=L.item, q=L.qty_text, p=L.price, t=L.total, d=L.due)
    if rng.random() < 0.3:
        text = rng.choice(OPENERS) + text
    if rng.random() < 0.12:
        text += "." + rng.choice(CLOSERS)
    elif rng.random() < 0.4:
        text += "."
    return text, used


def invoice_line(rng, held):
    """One line and its answer: (text, JSON)."""
    while True:
        line = Line(rng, held)
        text, used = rng.choices([clauses, labelled, table, sentence, prose], [28, 15, 13, 24, 20])[0](line)
        if line.case is not str:
            text = line.case(text)
        # "Ltd." at the end of a sentence cannot be told from "Ltd": such lines are left out.
        short_form = line.vendor.lower().endswith((" ltd", " inc", " co"))
        if len(used) < 3 or (short_form and line.vendor + "." in text) or ".." in text or len(text) > 260:
            continue
        return text, line.answer(used)


def conversation(rng):
    """One training conversation: messages, the assistant's turns being what is learnt."""
    messages = []
    kind = rng.random()
    if kind < 0.28:
        messages.append(("system", talk.system(rng)))
    turns = rng.choices([1, 2, 3, rng.randint(4, 7)], [95, 3, 1.3, 0.7])[0]
    for _ in range(turns):
        kind = rng.random()
        if kind < 0.86:
            text, answer = invoice_line(rng, False)
            text = talk.wrap(rng, text)
        elif kind < 0.94:
            text, answer = talk.other(rng), talk.ERROR
        else:
            text, answer = talk.chat(rng)
        messages += [("user", text), ("assistant", answer)]
    return messages


def held_out_cases(n, seed=20261120):
    """The held-out set: nine in ten are invoice lines, some behind an instruction, the rest is other text."""
    rng = random.Random(seed)
    for _ in range(n):
        if rng.random() < 0.1:
            yield {"text": talk.other(rng, True), "expected": talk.ERROR}
        else:
            text, answer = invoice_line(rng, True)
            yield {"text": talk.wrap(rng, text), "expected": answer}


if __name__ == "__main__":
    side, count = sys.argv[1], int(sys.argv[2])
    if side == "held-out":
        for case in held_out_cases(count):
            print(json.dumps(case, ensure_ascii=False))
    else:
        rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
        for _ in range(count):
            print(conversation(rng))
