-- Capacity sold to and bought from partners: offers, the market's clearings, leases, what buyers say about hosts, and the
-- receipts of what was used.
CREATE TABLE offers (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE market (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE leases (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE chains (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE disputes (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE tenancies (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE clearings (id TEXT PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE receipts (
    partner TEXT NOT NULL, side TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (partner, side, number)
);
