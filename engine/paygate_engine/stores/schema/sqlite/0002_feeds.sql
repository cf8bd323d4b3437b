-- Feeds: what is told in order, numbered from 1 without a gap. Old posts are forgotten; `feeds` keeps
-- the number of the newest one, so that no number is given twice.
CREATE TABLE posts (
    feed TEXT NOT NULL,
    n INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (feed, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE feeds (
    feed TEXT NOT NULL PRIMARY KEY,
    n INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
