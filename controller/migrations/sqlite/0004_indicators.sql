-- What was measured of each service: hours and months; minutes are in memory only.
CREATE TABLE indicators (key TEXT PRIMARY KEY, body TEXT NOT NULL);
