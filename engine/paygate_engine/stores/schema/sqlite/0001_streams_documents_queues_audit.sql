-- `crc`, wherever it is, is CRC-32 over the other columns of its row (`stores/checksums.py`).

-- Streams of events: what happened, in order.
CREATE TABLE events (
    stream TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;

-- The newest view of something. f1..f4 are the facets of its kind, in the kind's order.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    scope TEXT NOT NULL,
    f1 TEXT,
    f2 TEXT,
    f3 TEXT,
    f4 TEXT,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_by_facet ON documents (kind, f1, id);
CREATE INDEX documents_by_scope ON documents (kind, scope, id);

-- What documents are found by beside their id.
CREATE TABLE links (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (kind, name, value, id)
) STRICT, WITHOUT ROWID;

-- Names that one stream alone may hold.
CREATE TABLE claims (
    name TEXT NOT NULL PRIMARY KEY,
    stream TEXT NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Queues. A done item stays until it is forgotten, so that its id is not taken in again. `done_us`
-- is set later, and so is not in `crc`.
CREATE TABLE items (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    done_us INTEGER,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX items_waiting ON items (queue, id) WHERE done_us IS NULL;
CREATE INDEX items_done ON items (queue, done_us, id) WHERE done_us IS NOT NULL;

-- Streams that are open, and from when on each wants to be looked at.
CREATE TABLE wakes (
    stream TEXT NOT NULL PRIMARY KEY,
    at_us INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit chain: `hash` covers the row before, this row, and the events that `digest` covers.
CREATE TABLE audit (
    n INTEGER NOT NULL PRIMARY KEY,
    at_us INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    stream TEXT NOT NULL,
    why TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    events INTEGER NOT NULL,
    digest BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

-- Which facets the columns f1..f4 hold for each kind, separated by commas.
CREATE TABLE kinds (
    name TEXT NOT NULL PRIMARY KEY,
    facets TEXT NOT NULL
) STRICT, WITHOUT ROWID;
