-- expand: the first one makes everything.
--
-- The first line of a migration says what it does to programs of the version before: `expand` only
-- adds, so that they go on beside newer ones; `contract` takes away, so that they must not.
--
-- Text is compared byte by byte (COLLATE "C"): ids sort by the time of their making, and pages go on
-- behind a name in the same order everywhere. `crc`, wherever it is, is CRC-32 over the other columns
-- of its row (`stores/checksums.py`). Functions end in a number: a new text gets a new number, so
-- that nodes of two versions can run side by side.
--
-- What grows with every payment lies in 8 partitions, by the hash of what it is found by: vacuum and
-- the building of an index take an eighth at a time, and writers that come to the end of an index all
-- at once find eight ends. Not more, since a list asks each of them for its newest rows: measured,
-- planning and merging cost 1.2 ms with 4, 1.9 ms with 8 and 2.4 ms with 16. In one piece are: the
-- audit chains, which are only ever written at their ends, one for each seat; the posts of feeds, which
-- are numbered without a gap and forgotten after a while; and wakes, of which there are as many as
-- payments are open.

-- Streams of events: what happened, in order. `epoch` is what whoever recorded it says, since the
-- audit chain covers it.
CREATE TABLE paygate.events (
    stream text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    at_us bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    epoch bigint NOT NULL,
    crc bigint NOT NULL,
    PRIMARY KEY (stream, seq)
) PARTITION BY HASH (stream);

-- The newest view of something. f1..f4 are the facets of its kind, in the kind's order.
CREATE TABLE paygate.documents (
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    f1 text COLLATE "C",
    f2 text COLLATE "C",
    f3 text COLLATE "C",
    f4 text COLLATE "C",
    body bytea NOT NULL,
    crc bigint NOT NULL,
    PRIMARY KEY (kind, id)
) PARTITION BY HASH (id);

CREATE INDEX documents_by_facet ON paygate.documents (kind, f1, id);
CREATE INDEX documents_by_scope ON paygate.documents (kind, scope, id);

-- What documents are found by beside their id.
CREATE TABLE paygate.links (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, name, value, id)
) PARTITION BY HASH (value);

-- Names that one stream alone may hold.
CREATE TABLE paygate.claims (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    crc bigint NOT NULL
) PARTITION BY HASH (name);

-- Queues. A done item stays until it is forgotten, so that its id is not taken in again. `done_us`
-- is set later, and so is not in `crc`.
CREATE TABLE paygate.items (
    queue text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    at_us bigint NOT NULL,
    body bytea NOT NULL,
    crc bigint NOT NULL,
    done_us bigint,
    PRIMARY KEY (queue, id)
) PARTITION BY HASH (id);

CREATE INDEX items_waiting ON paygate.items (queue, id) WHERE done_us IS NULL;
CREATE INDEX items_done ON paygate.items (queue, done_us, id) WHERE done_us IS NOT NULL;

-- A stream's two sums: the lock behind the rules of payments. Nobody can write sums here that break
-- them, with plain SQL neither; that whatever moves money moves its sum as well is the program's.
CREATE TABLE paygate.tallies (
    stream text COLLATE "C" NOT NULL PRIMARY KEY,
    "limit" bigint NOT NULL,
    used bigint NOT NULL,
    CHECK (used >= 0 AND used <= "limit")
) PARTITION BY HASH (stream);

DO $$
DECLARE
    parent text;
    partition_name text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['events', 'documents', 'links', 'claims', 'items', 'tallies'] LOOP
        FOR remainder IN 0..7 LOOP
            partition_name := format('%s_%s', parent, remainder);
            EXECUTE format(
                'CREATE TABLE paygate.%I PARTITION OF paygate.%I FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                partition_name, parent, remainder
            );
        END LOOP;
    END LOOP;
    -- Sums are changed in place: their pages have room for the new version of a row.
    FOR remainder IN 0..7 LOOP
        EXECUTE format('ALTER TABLE paygate.tallies_%s SET (fillfactor = 80)', remainder);
    END LOOP;
END
$$;

-- Feeds: what is told in order, numbered from 1 without a gap. Old posts are forgotten; `feeds` keeps
-- the number of the newest one. The number is given by the database, so that whoever computes the
-- checksum does not know it: `crc` is CRC-32 over feed, time and body, XOR the number.
CREATE TABLE paygate.posts (
    feed text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    at_us bigint NOT NULL,
    body bytea NOT NULL,
    crc bigint NOT NULL,
    PRIMARY KEY (feed, n)
);

CREATE TABLE paygate.feeds (
    feed text COLLATE "C" NOT NULL PRIMARY KEY,
    n bigint NOT NULL
) WITH (fillfactor = 50);

-- Streams that are open, from when on each wants to be looked at, and the epoch whose work it is.
-- `adopted_turn` is the turn in which the owner took it over from a dead one, if it did.
CREATE TABLE paygate.wakes (
    stream text COLLATE "C" NOT NULL PRIMARY KEY,
    at_us bigint NOT NULL,
    crc bigint NOT NULL,
    owner bigint NOT NULL,
    adopted_turn bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE INDEX wakes_by_owner ON paygate.wakes (owner, stream);

-- One audit chain for each seat: `hash` covers the row before, this row, and what `digest` covers.
CREATE TABLE paygate.audit (
    chain text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    at_us bigint NOT NULL,
    who text COLLATE "C" NOT NULL,
    what text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    why text COLLATE "C" NOT NULL,
    first_seq bigint NOT NULL,
    events bigint NOT NULL,
    digest bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (chain, n)
);

-- Which facets the columns f1..f4 hold for each kind, separated by commas.
CREATE TABLE paygate.kinds (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    facets text COLLATE "C" NOT NULL
);

-- Seats. `turn` is the number of the newest group that was committed under the epoch, `barred` that
-- of the newest one that never may be any more. `over` says how the epoch ended; null while it lives.
-- Written with every group: pages have room for the new version of their rows.
CREATE TABLE paygate.nodes (
    seat bigint NOT NULL PRIMARY KEY,
    epoch bigint NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL,
    over text COLLATE "C" CHECK (over IN ('buried', 'left')),
    joined_us bigint NOT NULL,
    beat_us bigint NOT NULL,
    lease_until_us bigint NOT NULL,
    steady_since_us bigint NOT NULL,
    turn bigint NOT NULL,
    barred bigint NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Without a cache, which would give numbers out of order.
CREATE SEQUENCE paygate.epochs AS bigint CACHE 1;

CREATE TABLE paygate.duties (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    epoch bigint NOT NULL
);

-- One row: how often a document of a watched kind was committed. No sequence: the number must be
-- seen together with the document, not before it.
CREATE TABLE paygate.bulletin (
    one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    n bigint NOT NULL
) WITH (fillfactor = 20);

INSERT INTO paygate.bulletin (n) VALUES (0);

-- The database's time, UTC, in microseconds; it goes on inside of a transaction.
CREATE FUNCTION paygate.now_us_1() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Fence and marker in one: nothing is written under an epoch that is over, and the turn says later
-- whether what follows was committed. Holds the node's row to the end of the transaction.
--
-- Raises PY001: the epoch is over. PY004: the turn was barred, or is not newer than the newest one.
CREATE FUNCTION paygate.take_turn_1(this_seat bigint, this_epoch bigint, this_turn bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE paygate.nodes SET turn = this_turn
    WHERE seat = this_seat AND epoch = this_epoch AND over IS NULL
        AND turn < this_turn AND barred < this_turn;
    IF NOT FOUND THEN
        IF EXISTS (
            SELECT FROM paygate.nodes
            WHERE seat = this_seat AND epoch = this_epoch AND over IS NULL
        ) THEN
            RAISE EXCEPTION 'turn % of epoch % is barred', this_turn, this_epoch
                USING ERRCODE = 'PY004';
        END IF;
        RAISE EXCEPTION 'epoch % is over', this_epoch USING ERRCODE = 'PY001';
    END IF;
END
$$;

-- A whole group, in one statement: a node that freezes can never hold a transaction open. Its parts
-- go in one order for everybody, and the rows of each sorted, so that two groups wait for each other
-- in one direction only. Rows that many nodes want are last: they are held for the shortest time.
--
-- Raises what `take_turn_1` does, and PY002: a claim is in the way. PY003: the audit rows
-- are not the chain's next ones.
CREATE FUNCTION paygate.commit_group_1(
    this_seat bigint, this_epoch bigint, this_turn bigint, this_chain text, is_watched boolean,
    event_streams text[], event_seqs bigint[], event_at_us bigint[], event_kinds text[],
    event_bodies bytea[], event_epochs bigint[], event_crcs bigint[],
    claim_names text[], claim_streams text[], claim_bodies bytea[], claim_crcs bigint[],
    taken_names text[], taken_streams text[], taken_bodies bytea[], taken_crcs bigint[],
    taken_from text[],
    item_queues text[], item_ids text[], item_keys text[], item_at_us bigint[],
    item_bodies bytea[], item_crcs bigint[], item_done_us bigint[],
    done_queues text[], done_ids text[], done_at_us bigint[],
    document_kinds text[], document_ids text[], document_scopes text[], document_f1 text[],
    document_f2 text[], document_f3 text[], document_f4 text[], document_bodies bytea[],
    document_crcs bigint[],
    link_kinds text[], link_names text[], link_values text[], link_ids text[],
    wake_streams text[], wake_at_us bigint[], wake_crcs bigint[],
    closed_streams text[], touched_streams text[],
    tally_streams text[], tally_limits bigint[], tally_useds bigint[],
    audit_ns bigint[], audit_at_us bigint[], audit_whos text[], audit_whats text[],
    audit_streams text[], audit_whys text[], audit_firsts bigint[], audit_counts bigint[],
    audit_digests bytea[], audit_hashes bytea[],
    feed_names text[], feed_counts bigint[],
    post_feeds text[], post_backs bigint[], post_at_us bigint[], post_bodies bytea[],
    post_crcs bigint[]
) RETURNS void LANGUAGE plpgsql
-- A plan is kept while tables grow: none of them may ever walk through a table.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM paygate.take_turn_1(this_seat, this_epoch, this_turn);

    IF cardinality(event_streams) > 0 THEN
        INSERT INTO paygate.events (stream, seq, at_us, kind, body, epoch, crc)
        SELECT stream, seq, at_us, kind, body, epoch, crc
        FROM unnest(
            event_streams, event_seqs, event_at_us, event_kinds, event_bodies, event_epochs,
            event_crcs
        ) AS given (stream, seq, at_us, kind, body, epoch, crc);
    END IF;

    IF cardinality(claim_names) > 0 THEN
        INSERT INTO paygate.claims (name, stream, body, crc)
        SELECT name, stream, body, crc
        FROM unnest(claim_names, claim_streams, claim_bodies, claim_crcs)
            AS given (name, stream, body, crc);
    END IF;

    -- A name that nobody holds is free, also for who would have taken it over.
    FOR place IN 1..cardinality(taken_names) LOOP
        INSERT INTO paygate.claims AS held (name, stream, body, crc)
        VALUES (
            taken_names[place], taken_streams[place], taken_bodies[place], taken_crcs[place]
        )
        ON CONFLICT (name) DO UPDATE
            SET stream = excluded.stream, body = excluded.body, crc = excluded.crc
            WHERE held.stream = taken_from[place];
        IF NOT FOUND THEN
            RAISE EXCEPTION 'claim % is held', taken_names[place] USING ERRCODE = 'PY002';
        END IF;
    END LOOP;

    IF cardinality(item_ids) > 0 THEN
        INSERT INTO paygate.items (queue, id, key, at_us, body, crc, done_us)
        SELECT queue, id, key, at_us, body, crc, done_us
        FROM unnest(
            item_queues, item_ids, item_keys, item_at_us, item_bodies, item_crcs, item_done_us
        ) AS given (queue, id, key, at_us, body, crc, done_us);
    END IF;

    IF cardinality(done_ids) > 0 THEN
        UPDATE paygate.items AS kept SET done_us = given.done_us
        FROM unnest(done_queues, done_ids, done_at_us) AS given (queue, id, done_us)
        WHERE kept.queue = given.queue AND kept.id = given.id AND kept.done_us IS NULL;
    END IF;

    IF cardinality(document_ids) > 0 THEN
        INSERT INTO paygate.documents (kind, id, scope, f1, f2, f3, f4, body, crc)
        SELECT kind, id, scope, f1, f2, f3, f4, body, crc
        FROM unnest(
            document_kinds, document_ids, document_scopes, document_f1, document_f2, document_f3,
            document_f4, document_bodies, document_crcs
        ) AS given (kind, id, scope, f1, f2, f3, f4, body, crc)
        ON CONFLICT (kind, id) DO UPDATE
            SET scope = excluded.scope, f1 = excluded.f1, f2 = excluded.f2, f3 = excluded.f3,
                f4 = excluded.f4, body = excluded.body, crc = excluded.crc;
    END IF;

    IF cardinality(link_ids) > 0 THEN
        INSERT INTO paygate.links (kind, name, value, id)
        SELECT kind, name, value, id
        FROM unnest(link_kinds, link_names, link_values, link_ids) AS given (kind, name, value, id)
        ON CONFLICT DO NOTHING;
    END IF;

    IF cardinality(wake_streams) > 0 THEN
        INSERT INTO paygate.wakes (stream, at_us, crc, owner)
        SELECT stream, at_us, crc, this_epoch
        FROM unnest(wake_streams, wake_at_us, wake_crcs) AS given (stream, at_us, crc)
        ON CONFLICT (stream) DO UPDATE
            SET at_us = excluded.at_us, crc = excluded.crc, owner = excluded.owner;
    END IF;
    IF cardinality(closed_streams) > 0 THEN
        DELETE FROM paygate.wakes WHERE stream = ANY (closed_streams);
    END IF;
    -- Whoever commits to an open stream owns it.
    IF cardinality(touched_streams) > 0 THEN
        UPDATE paygate.wakes SET owner = this_epoch
        WHERE stream = ANY (touched_streams) AND owner <> this_epoch;
    END IF;

    IF cardinality(tally_streams) > 0 THEN
        -- First a row for each, then the amounts: a row that is proposed must pass the check too.
        INSERT INTO paygate.tallies (stream, "limit", used)
        SELECT stream, 0, 0 FROM unnest(tally_streams) AS given (stream)
        ON CONFLICT DO NOTHING;
        UPDATE paygate.tallies AS kept
            SET "limit" = kept."limit" + given."limit", used = kept.used + given.used
        FROM unnest(tally_streams, tally_limits, tally_useds) AS given (stream, "limit", used)
        WHERE kept.stream = given.stream;
    END IF;

    IF cardinality(audit_ns) > 0 THEN
        IF audit_ns[1] <> 1 + coalesce(
            (SELECT n FROM paygate.audit WHERE chain = this_chain ORDER BY n DESC LIMIT 1), 0
        ) THEN
            RAISE EXCEPTION 'audit row % of chain % is out of turn', audit_ns[1], this_chain
                USING ERRCODE = 'PY003';
        END IF;
        INSERT INTO paygate.audit
            (chain, n, at_us, who, what, stream, why, first_seq, events, digest, hash)
        SELECT this_chain, n, at_us, who, what, stream, why, first_seq, events, digest, hash
        FROM unnest(
            audit_ns, audit_at_us, audit_whos, audit_whats, audit_streams, audit_whys,
            audit_firsts, audit_counts, audit_digests, audit_hashes
        ) AS given (n, at_us, who, what, stream, why, first_seq, events, digest, hash);
    END IF;

    IF cardinality(post_feeds) > 0 THEN
        WITH counted AS (
            INSERT INTO paygate.feeds AS kept (feed, n)
            SELECT feed, posts FROM unnest(feed_names, feed_counts) AS given (feed, posts)
            ON CONFLICT (feed) DO UPDATE SET n = kept.n + excluded.n
            RETURNING kept.feed, kept.n
        )
        INSERT INTO paygate.posts (feed, n, at_us, body, crc)
        SELECT given.feed, counted.n - given.back, given.at_us, given.body,
            given.crc # (counted.n - given.back)
        FROM unnest(post_feeds, post_backs, post_at_us, post_bodies, post_crcs)
                AS given (feed, back, at_us, body, crc)
            JOIN counted USING (feed);
    END IF;

    IF is_watched THEN
        UPDATE paygate.bulletin SET n = n + 1;
    END IF;
END
$$;

-- Whether a group was committed, asked so that it never can be any more if it was not: `barred`
-- keeps it out. The row's lock makes it wait for a back end that is still at it, and being itself a
-- commit it waits for the standbys. A wait for the lock ends by itself, so that those who ask again
-- and again do not fill the server up.
CREATE FUNCTION paygate.settle_1(
    this_seat bigint, this_epoch bigint, this_turn bigint, OUT newest bigint, OUT ended text
) RETURNS SETOF record LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
BEGIN
    RETURN QUERY
    UPDATE paygate.nodes SET barred = greatest(barred, this_turn)
    WHERE seat = this_seat AND epoch = this_epoch
    RETURNING turn, over::text;
END
$$;

-- A free seat, or a new one, under a new epoch.
CREATE FUNCTION paygate.join_1(
    this_name text, lease_us bigint, OUT own_seat bigint, OUT own_epoch bigint, OUT at_us bigint
) LANGUAGE plpgsql AS $$
BEGIN
    own_epoch := nextval('paygate.epochs');
    at_us := paygate.now_us_1();
    UPDATE paygate.nodes
    SET epoch = own_epoch, name = this_name, over = NULL, joined_us = at_us, beat_us = at_us,
        lease_until_us = at_us + lease_us, steady_since_us = at_us, turn = 0, barred = 0
    WHERE seat = (
        SELECT seat FROM paygate.nodes WHERE over IS NOT NULL
        ORDER BY seat LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING seat INTO own_seat;
    IF own_seat IS NULL THEN
        -- Two that make a seat at once would take the same number; held to the end of this commit.
        PERFORM pg_advisory_xact_lock(7306914, 1);
        INSERT INTO paygate.nodes
        SELECT coalesce(max(seat), 0) + 1, own_epoch, this_name, NULL, at_us, at_us,
            at_us + lease_us, at_us, 0, 0
        FROM paygate.nodes
        RETURNING seat INTO own_seat;
    END IF;
END
$$;

-- Take open streams over whose owner is over, or never was; those that somebody else is taking at
-- this moment are left to them. A turn like a group's, so that what became of it can be asked.
CREATE FUNCTION paygate.adopt_1(
    this_seat bigint, this_epoch bigint, this_turn bigint, streams_max bigint,
    OUT of_stream text, OUT due_us bigint, OUT row_crc bigint
) RETURNS SETOF record LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM paygate.take_turn_1(this_seat, this_epoch, this_turn);
    RETURN QUERY
    -- From owner to owner along the index: there are few owners and may be many streams.
    WITH RECURSIVE owners AS (
        (SELECT owner FROM paygate.wakes ORDER BY owner LIMIT 1)
        UNION ALL
        SELECT (
            SELECT owner FROM paygate.wakes
            WHERE owner > owners.owner ORDER BY owner LIMIT 1
        )
        FROM owners WHERE owners.owner IS NOT NULL
    ),
    dead AS (
        SELECT owner FROM owners
        WHERE owner IS NOT NULL AND NOT EXISTS (
            SELECT FROM paygate.nodes WHERE epoch = owners.owner AND over IS NULL
        )
    ),
    free AS (
        SELECT open.stream
        FROM dead CROSS JOIN LATERAL (
            SELECT stream FROM paygate.wakes WHERE owner = dead.owner
            ORDER BY stream LIMIT streams_max FOR UPDATE SKIP LOCKED
        ) AS open
        LIMIT streams_max
    )
    UPDATE paygate.wakes AS kept SET owner = this_epoch, adopted_turn = this_turn
    FROM free WHERE kept.stream = free.stream
    RETURNING kept.stream::text, kept.at_us, kept.crc;
END
$$;

-- Whether the duty is the epoch's own now: it was, or it was nobody's who lives. Raises PY001.
CREATE FUNCTION paygate.take_duty_1(duty text, this_epoch bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    holder bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM paygate.nodes WHERE epoch = this_epoch AND over IS NULL) THEN
        RAISE EXCEPTION 'epoch % is over', this_epoch USING ERRCODE = 'PY001';
    END IF;
    -- Most of the time it is held, and nothing is written.
    SELECT epoch INTO holder FROM paygate.duties WHERE name = duty;
    IF holder = this_epoch THEN
        RETURN true;
    ELSIF EXISTS (SELECT FROM paygate.nodes WHERE epoch = holder AND over IS NULL) THEN
        RETURN false;
    END IF;
    INSERT INTO paygate.duties (name, epoch) VALUES (duty, this_epoch) ON CONFLICT DO NOTHING;
    -- Who holds it is asked again behind the lock: another one may have been faster.
    SELECT epoch INTO holder FROM paygate.duties WHERE name = duty FOR UPDATE;
    IF holder IS NULL OR holder <> this_epoch AND EXISTS (
        SELECT FROM paygate.nodes WHERE epoch = holder AND over IS NULL
    ) THEN
        RETURN false;
    END IF;
    UPDATE paygate.duties SET epoch = this_epoch WHERE name = duty AND epoch <> this_epoch;
    RETURN true;
END
$$;
