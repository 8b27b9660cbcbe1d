-- What the media library knows beside the files: users, sessions, notes, shares and so on. An index
-- over the log, as `nodes` is: what is known of an entity is in the event at its position.
create table library_entities (
    number integer primary key,
    -- its last event
    position integer not null,
    -- what it is, see `eventlog.library.Kind`
    kind integer not null,
    -- number of the node or the entity that it is about, 0 for none; null: it has ended
    about integer,
    -- what it is found by: a name, a hash, what the halves of a live photo share
    key blob
);

-- What a squash has to repeat, the oldest first.
create unique index library_entities_by_position on library_entities (position);

-- All live ones of a kind, and what is about a node.
create index library_entities_by_subject on library_entities (kind, about) where about is not null;

-- The user of a name, the session of a token. Not unique: who appends sees to that.
create index library_entities_by_key on library_entities (kind, key) where key is not null;
