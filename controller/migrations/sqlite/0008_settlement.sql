-- What is contested with partners: the entries of each step of a dispute, which sum to zero, and are never changed.
CREATE TABLE dispute_postings (
    dispute  TEXT NOT NULL,
    step     INTEGER NOT NULL, -- 0: contested, 1: decided
    position INTEGER NOT NULL,
    account  TEXT NOT NULL,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (dispute, step, position)
);
-- Months with partners that were settled.
CREATE TABLE settlements (key TEXT PRIMARY KEY, body TEXT NOT NULL);
-- Statements are made of what an owner's machines were used for; settlements of a month's receipts.
CREATE INDEX usage_of_owner ON usage (json_extract(body, '$.owner'), at);
CREATE INDEX receipts_by_time ON receipts (partner, side, json_extract(body, '$.used.at'));
