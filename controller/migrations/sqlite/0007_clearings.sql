-- Records of clearings are links of one chain: each is kept, also when a demand was cleared again because nothing had fitted.
CREATE TABLE clearings_all (
    hash TEXT PRIMARY KEY,
    id   TEXT NOT NULL,
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
);
INSERT INTO clearings_all (hash, id, at, body) SELECT json_extract(body, '$.hash'), id, at, body FROM clearings;
DROP TABLE clearings;
ALTER TABLE clearings_all RENAME TO clearings;
CREATE INDEX clearings_of_demand ON clearings (id, at);
CREATE INDEX clearings_by_time ON clearings (at, id);
