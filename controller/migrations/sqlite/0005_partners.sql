-- Other controllers that capacity is sold to or bought from.
CREATE TABLE partners (key TEXT PRIMARY KEY, body TEXT NOT NULL);
-- Invitations of partners, by the hash of their secret.
CREATE TABLE invitations (key TEXT PRIMARY KEY, body TEXT NOT NULL);
