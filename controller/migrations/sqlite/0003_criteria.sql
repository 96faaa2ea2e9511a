-- What the provider would rather have of each site, and of the fleet.
CREATE TABLE criteria (key TEXT PRIMARY KEY, body TEXT NOT NULL);
-- Smoothed rates of sites.
CREATE TABLE outlooks (key TEXT PRIMARY KEY, body TEXT NOT NULL);
