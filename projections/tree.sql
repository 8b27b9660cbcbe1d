-- The node tree: an index over the log. What is known of a node is in the event at its position.
create table nodes (
    number integer primary key,
    -- its last event
    position integer not null,
    -- the directory that holds it; null: the node is gone, this is its tombstone
    parent integer,
    name blob,
    -- identity of the file: which filesystem, which inode
    fs integer,
    ino integer,
    -- what is left to compute: pending, skipped or failed content; null: nothing
    content integer
);

-- The feed: nodes in the order of their last change.
create unique index nodes_by_position on nodes (position);

-- The children of a directory, and the node at a place. Not unique: while the two moves of an
-- exchange are folded one after the other, two nodes share a place.
create index nodes_by_place on nodes (parent, name) where parent is not null;

-- Which nodes a file has: one for each hard link.
create index nodes_by_file on nodes (ino, fs) where parent is not null;

-- What the describer has to do, the oldest first.
create index nodes_by_content on nodes (content, position) where content is not null;
