-- Disputes that were settled long ago: not loaded into memory any more, kept for who asks, and for the ledger.
CREATE TABLE settled_disputes (
    partner    BLOB NOT NULL,
    ours       INTEGER NOT NULL,
    receipt    INTEGER NOT NULL,
    opened_at  INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (partner, ours, receipt)
);
