-- What sellers did, by site.
CREATE TABLE reputations (key TEXT PRIMARY KEY, body TEXT NOT NULL);
