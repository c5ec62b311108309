CREATE TABLE accounts (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    operator INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE credentials (
    digest BLOB PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES accounts,
    label TEXT NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE order_keys (
    handle BLOB PRIMARY KEY,
    order_key BLOB NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts,
    registered_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX order_keys_by_account ON order_keys (account);

CREATE TABLE packages (
    number INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    account INTEGER NOT NULL REFERENCES accounts,
    unit TEXT NOT NULL,
    priority INTEGER NOT NULL,
    promotional INTEGER NOT NULL,
    effective_from INTEGER NOT NULL,
    expires_at INTEGER,
    memo TEXT NOT NULL,
    granted INTEGER NOT NULL CHECK (granted > 0),
    available INTEGER NOT NULL CHECK (available >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    expired INTEGER NOT NULL DEFAULT 0 CHECK (expired >= 0),
    CHECK (granted = available + held + spent + expired)
) STRICT;
CREATE INDEX packages_by_account ON packages (account, unit);
CREATE INDEX packages_by_expiry ON packages (expires_at) WHERE available > 0;

CREATE TABLE holds (
    number INTEGER PRIMARY KEY,
    hold BLOB NOT NULL UNIQUE,
    account INTEGER NOT NULL REFERENCES accounts,
    unit TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    state INTEGER NOT NULL DEFAULT 0,
    charged INTEGER,
    receipt BLOB,
    settle_by INTEGER NOT NULL,
    order_digest BLOB NOT NULL,
    order_bytes BLOB NOT NULL,
    grant_bytes BLOB NOT NULL,
    delegation BLOB NOT NULL,
    instance TEXT NOT NULL
) STRICT;
CREATE INDEX holds_due ON holds (settle_by) WHERE state = 0;
CREATE INDEX holds_by_account ON holds (account, number);

CREATE TABLE shares (
    hold INTEGER NOT NULL REFERENCES holds,
    place INTEGER NOT NULL,
    package INTEGER NOT NULL REFERENCES packages,
    amount INTEGER NOT NULL CHECK (amount > 0),
    PRIMARY KEY (hold, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE transfers (
    number INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts,
    package INTEGER NOT NULL REFERENCES packages,
    amount INTEGER NOT NULL CHECK (amount > 0),
    hold BLOB,
    receipt BLOB,
    memo TEXT
) STRICT;
CREATE INDEX transfers_by_account ON transfers (account, number);
CREATE TRIGGER transfers_stand BEFORE UPDATE ON transfers
    BEGIN SELECT RAISE(ABORT, 'transfers are never changed'); END;
CREATE TRIGGER transfers_stay BEFORE DELETE ON transfers
    BEGIN SELECT RAISE(ABORT, 'transfers are never deleted'); END;

CREATE TABLE refunds (
    key BLOB PRIMARY KEY,
    package INTEGER NOT NULL REFERENCES packages,
    amount INTEGER NOT NULL,
    memo TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE leaves (
    place INTEGER PRIMARY KEY, -- index in the log, plus one
    leaf BLOB NOT NULL
) STRICT;
CREATE TRIGGER leaves_stand BEFORE UPDATE ON leaves
    BEGIN SELECT RAISE(ABORT, 'leaves are never changed'); END;
CREATE TRIGGER leaves_stay BEFORE DELETE ON leaves
    BEGIN SELECT RAISE(ABORT, 'leaves are never deleted'); END;

CREATE TABLE keysets (
    digest BLOB PRIMARY KEY,
    instance TEXT NOT NULL,
    jcs BLOB NOT NULL,
    receipt_keys BLOB NOT NULL,
    simulated INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    appraised_at INTEGER NOT NULL,
    evidence BLOB NOT NULL,
    report BLOB NOT NULL,
    leaf INTEGER NOT NULL
) STRICT;

CREATE TABLE epochs (
    epoch BLOB PRIMARY KEY,
    keyset BLOB NOT NULL REFERENCES keysets,
    next_seq INTEGER NOT NULL,
    tip BLOB,
    closed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    epoch BLOB NOT NULL,
    seq INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    prev BLOB,
    digest BLOB NOT NULL UNIQUE,
    keyset BLOB NOT NULL,
    bytes BLOB NOT NULL,
    leaf_bytes BLOB NOT NULL,
    leaf INTEGER,
    account INTEGER,
    hold BLOB,
    interim INTEGER,
    charge INTEGER,
    flag TEXT,
    UNIQUE (epoch, seq)
) STRICT;
CREATE INDEX records_by_account ON records (account, number) WHERE kind = 1;
CREATE INDEX records_interim ON records (hold, interim) WHERE interim IS NOT NULL;

CREATE TABLE price_books (
    version INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    book BLOB NOT NULL,
    leaf INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    note BLOB NOT NULL
) STRICT;

CREATE TABLE anomalies (
    number INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    what TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

-- A ledger as the first version of the schema kept it: one account, two packages, one hold settled,
-- one active over both packages.
INSERT INTO accounts VALUES (1, 'acme', 0, 1000);
INSERT INTO packages VALUES
    (1, x'01010101010101010101010101010101', 1, 'TOK', 1, 0, 0, NULL, 'one', 10, 0, 10, 0, 0),
    (2, x'02020202020202020202020202020202', 1, 'TOK', 2, 0, 0, NULL, 'two', 10, 1, 5, 4, 0);
INSERT INTO holds VALUES
    (1, x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', 1, 'TOK', 4, 1, 4, NULL, 2000, zeroblob(32),
     CAST('order' AS BLOB), CAST('grant' AS BLOB), CAST('delegation' AS BLOB), 'node-1'),
    (2, x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 1, 'TOK', 15, 0, NULL, NULL, 2000, zeroblob(32),
     CAST('order' AS BLOB), CAST('grant' AS BLOB), CAST('delegation' AS BLOB), 'node-1');
INSERT INTO shares VALUES (1, 0, 2, 4), (2, 0, 1, 10), (2, 1, 2, 5);
INSERT INTO transfers VALUES
    (1, 1000, 0, 1, 1, 10, NULL, NULL, 'one'),
    (2, 1000, 0, 1, 2, 10, NULL, NULL, 'two'),
    (3, 1000, 1, 1, 2, 4, x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', NULL, NULL),
    (4, 1000, 2, 1, 2, 4, x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', NULL, NULL),
    (5, 1000, 1, 1, 1, 10, x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', NULL, NULL),
    (6, 1000, 1, 1, 2, 5, x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', NULL, NULL);
PRAGMA user_version = 1;
