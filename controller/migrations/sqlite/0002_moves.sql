-- Moves: done, under way, or considered and declined.
CREATE TABLE moves (key TEXT PRIMARY KEY, body TEXT NOT NULL);
