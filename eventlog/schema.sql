-- The log's own tables. Those of the projections are beside their folds.

-- Facts about this database that are no events: log_id (the epoch of its positions, renewed by a
-- restore), id_prefix (given at birth, kept for ever), floor (no cursor below it can be honoured),
-- gaps (positions of logs that a restore replaced), scanned (set once every root was seen whole).
create table meta (
    key text primary key,
    value text not null
) without rowid;

-- The log. autoincrement: a position is never given twice, not even after the newest rows went.
create table events (
    position integer primary key autoincrement,
    node integer not null,
    time_us integer not null,
    record blob not null
);

-- History of a node; and for compaction, which events a later one replaced.
create index events_by_node on events (node, position);

-- Which folds, in which version, the projections' tables hold. They are as new as the log itself,
-- because they are written in its transactions.
create table projections (
    name text primary key,
    version integer not null
) without rowid;
