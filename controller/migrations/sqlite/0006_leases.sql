-- Capacity sold to and bought from partners, and what buyers say about hosts.
CREATE TABLE leases (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE tenancies (key TEXT PRIMARY KEY, body TEXT NOT NULL);
