"""The tables of the discussions' database, and the queries for what is forgotten first."""

SCHEMA = """
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY, holder TEXT NOT NULL, seen REAL NOT NULL,
    binding TEXT, model TEXT, active INTEGER, running TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS exchanges (
    number INTEGER PRIMARY KEY,
    token TEXT NOT NULL REFERENCES sessions (token) ON DELETE CASCADE,
    personality TEXT NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS of_session ON exchanges (token, personality, number);
CREATE TEMP TABLE connected (token TEXT PRIMARY KEY);
"""
# `place` is the size of the holder's sessions down to this one, with those first that are kept
# longest: the highest place is the first to go, of the holder who has the most.
TOO_MANY = """
WITH sized AS (
    SELECT token, holder, seen, token IN (SELECT token FROM connected) AS connected,
        running != '' OR EXISTS (SELECT 1 FROM exchanges WHERE exchanges.token = sessions.token)
            AS said
    FROM sessions
), placed AS (
    SELECT token, connected, said, seen, row_number() OVER (
        PARTITION BY holder ORDER BY connected DESC, said DESC, seen DESC
    ) AS place FROM sized
)
SELECT token FROM placed
WHERE NOT connected AND place > ? / (SELECT count(DISTINCT holder) FROM sessions)
ORDER BY said, place DESC, seen LIMIT ?
"""
"""With the most sessions, and how many go. A holder keeps an equal share, also when another has too
many that are connected, which cannot go."""
TOO_LARGE = """
WITH sized AS (
    SELECT token, holder, seen, token IN (SELECT token FROM connected) AS connected, (
        SELECT total(length(prompt) + length(answer)) FROM exchanges
        WHERE exchanges.token = sessions.token
    ) AS size FROM sessions
), placed AS (
    SELECT token, connected, size, sum(size) OVER (
        PARTITION BY holder ORDER BY connected DESC, seen DESC ROWS UNBOUNDED PRECEDING
    ) AS place FROM sized
)
SELECT token, size FROM placed WHERE NOT connected AND size > 0 ORDER BY place DESC
"""
BEYOND_LIMITS = """
DELETE FROM exchanges WHERE number IN (
    SELECT number FROM (
        SELECT number, row_number() OVER newest AS place,
            sum(length(prompt) + length(answer)) OVER newest AS characters
        FROM exchanges WHERE token = ? WINDOW newest AS (ORDER BY number DESC)
    ) WHERE place > ? OR characters > ?
)
"""
