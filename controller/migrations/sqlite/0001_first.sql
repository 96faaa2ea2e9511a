-- Records: one table a noun, keyed by id, the body as JSON of the engine's type.
CREATE TABLE parties      (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sites        (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE hosts        (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE tokens       (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE join_tokens  (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE artifacts    (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE offerings    (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE orders       (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE agreements   (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE services     (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE assignments  (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE closed_assignments (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE meters       (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE bills        (key TEXT PRIMARY KEY, body TEXT NOT NULL);

-- Every change of state, in order, without gaps.
CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL, -- microseconds since 1970-01-01 UTC
    by      TEXT NOT NULL,
    noun    TEXT NOT NULL,
    subject TEXT NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX events_of_subject ON events (subject, id);

-- Why each thing is where it is.
CREATE TABLE decisions (
    id      TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    at      INTEGER NOT NULL,
    body    TEXT NOT NULL
);

-- Measured use, each stretch once: (host, sequence) is unique for ever.
CREATE TABLE usage (
    host     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    customer TEXT NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (host, sequence)
);
CREATE INDEX usage_of_customer ON usage (customer, at);

-- Double entry: the entries of one usage row sum to zero. Amounts are millionths of the currency's unit.
CREATE TABLE postings (
    host     TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    account  TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (host, sequence, account)
);

-- Answers to requests with an idempotency key, to be given again.
CREATE TABLE answers (
    caller      TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status      INTEGER NOT NULL,
    body        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
);

-- What is known once: the generation of the model, the currency.
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
