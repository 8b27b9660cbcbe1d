-- The media library's own view of the tree: what each catalog and file is shown as, and in which
-- order. There only where there is a library, because the first scan of many files pays for it.
create table media (
    -- of a node
    number integer primary key,
    -- what the disk says; place, the directory that holds it, is null when it is gone
    place integer,
    is_catalog integer,
    disk_type integer,
    size integer,
    mtime_us integer,
    disk_duration integer,
    disk_width integer,
    disk_height integer,
    -- MD5 of the content, once that is known
    disk_hash blob,
    -- what people say, and the entity that says it
    note integer,
    note_parent integer,
    note_type integer,
    note_created integer,
    note_uploaded integer,
    note_duration integer,
    note_width integer,
    note_height integer,
    uploader integer,
    -- what the file says of itself, and the entity that says it
    facts integer,
    fact_created integer,
    fact_duration integer,
    fact_width integer,
    fact_height integer,
    fact_hash blob,
    -- the root that it hangs from on the disk: who may see it is decided there
    root integer,
    -- the catalog that it is shown in; null when it is gone
    parent integer,
    -- bit of the type of a file, see `projections.library_types`; null: it is shown in no list
    type integer as (case when place is null or is_catalog then null
        else coalesce(note_type, disk_type) end) virtual,
    created integer as (coalesce(note_created, fact_created, mtime_us, 0)) virtual,
    uploaded integer as (coalesce(note_uploaded, 0)) virtual,
    duration integer as (coalesce(note_duration, fact_duration, disk_duration, 0)) virtual,
    -- width, then height
    pixels integer as (coalesce(note_width, fact_width, disk_width, 0) * 4294967296
        + coalesce(note_height, fact_height, disk_height, 0)) virtual
);

-- Files of a root and type in each order.
create index media_by_number on media (root, type, number) where type is not null;
create index media_by_created on media (root, type, created, number) where type is not null;
create index media_by_uploaded on media (root, type, uploaded, number) where type is not null;
create index media_by_size on media (root, type, size, number) where type is not null;
create index media_by_duration on media (root, type, duration, number) where type is not null;
create index media_by_pixels on media (root, type, pixels, number) where type is not null;

-- Files of a catalog in each order.
create index media_in_by_number on media (parent, root, type, number) where type is not null;
create index media_in_by_created on media (parent, root, type, created, number)
    where type is not null;
create index media_in_by_uploaded on media (parent, root, type, uploaded, number)
    where type is not null;
create index media_in_by_size on media (parent, root, type, size, number)
    where type is not null;
create index media_in_by_duration on media (parent, root, type, duration, number)
    where type is not null;
create index media_in_by_pixels on media (parent, root, type, pixels, number)
    where type is not null;

-- Files that somebody uploaded, in each order.
create index media_of_by_number on media (uploader, root, type, number)
    where uploader > 0 and type is not null;
create index media_of_by_created on media (uploader, root, type, created, number)
    where uploader > 0 and type is not null;
create index media_of_by_uploaded on media (uploader, root, type, uploaded, number)
    where uploader > 0 and type is not null;
create index media_of_by_size on media (uploader, root, type, size, number)
    where uploader > 0 and type is not null;
create index media_of_by_duration on media (uploader, root, type, duration, number)
    where uploader > 0 and type is not null;
create index media_of_by_pixels on media (uploader, root, type, pixels, number)
    where uploader > 0 and type is not null;

-- Those of them that are in a catalog.
create index media_of_in_by_number on media (uploader, parent, root, type, number)
    where uploader > 0 and type is not null;
create index media_of_in_by_created on media (uploader, parent, root, type, created, number)
    where uploader > 0 and type is not null;
create index media_of_in_by_uploaded on media (uploader, parent, root, type, uploaded, number)
    where uploader > 0 and type is not null;
create index media_of_in_by_size on media (uploader, parent, root, type, size, number)
    where uploader > 0 and type is not null;
create index media_of_in_by_duration on media (uploader, parent, root, type, duration, number)
    where uploader > 0 and type is not null;
create index media_of_in_by_pixels on media (uploader, parent, root, type, pixels, number)
    where uploader > 0 and type is not null;

-- Catalogs in a catalog.
create index media_catalogs on media (parent, number) where is_catalog and parent is not null;

-- Files that nobody has looked at since they changed.
create index media_to_do on media (number)
    where disk_hash is not null and fact_hash is not disk_hash and type in (1, 2, 4, 8);

-- What is still said of nodes that are gone.
create index media_gone on media (number) where place is null;

-- What the fold has to find again.
create index media_by_note on media (note) where note is not null;
create index media_by_facts on media (facts) where facts is not null;
create index media_by_note_parent on media (note_parent) where note_parent > 0;

-- Some files of each list, and how many files lie from each to the next: counting to a page in the
-- middle of a million takes 50 ms and more. See `projections.media_marks`.
create table media_marks (
    -- which list, see `projections.media_lists`
    list integer not null,
    -- of the node
    number integer not null,
    -- the arm of the list; 0 where it is of any
    type integer not null,
    root integer not null,
    parent integer not null,
    uploader integer not null,
    -- what the list is in order of; what has the same is in order of the number
    key integer not null,
    files integer not null,
    primary key (list, number)
) without rowid;

create unique index media_marks_in_order
    on media_marks (list, uploader, parent, root, type, key, number);

-- Files that came to their places (1) or went from them (-1) since the marks were right: always
-- empty when a transaction ends.
create table media_moves (
    sign integer not null,
    number integer not null,
    type integer not null,
    root integer not null,
    parent integer not null,
    uploader integer,
    created integer not null,
    uploaded integer not null,
    size integer not null,
    duration integer not null,
    pixels integer not null
);

create trigger media_moves_inserted after insert on media
when new.type is not null and new.root is not null and new.parent is not null begin
    insert into media_moves values (1, new.number, new.type, new.root, new.parent, new.uploader,
        new.created, new.uploaded, new.size, new.duration, new.pixels);
end;

create trigger media_moves_deleted after delete on media
when old.type is not null and old.root is not null and old.parent is not null begin
    insert into media_moves values (-1, old.number, old.type, old.root, old.parent, old.uploader,
        old.created, old.uploaded, old.size, old.duration, old.pixels);
end;

create trigger media_moves_updated after update on media
when (old.type, old.root, old.parent, old.uploader, old.created, old.uploaded, old.size,
    old.duration, old.pixels) is not (new.type, new.root, new.parent, new.uploader, new.created,
    new.uploaded, new.size, new.duration, new.pixels) begin
    insert into media_moves select -1, old.number, old.type, old.root, old.parent, old.uploader,
        old.created, old.uploaded, old.size, old.duration, old.pixels
        where old.type is not null and old.root is not null and old.parent is not null;
    insert into media_moves select 1, new.number, new.type, new.root, new.parent, new.uploader,
        new.created, new.uploaded, new.size, new.duration, new.pixels
        where new.type is not null and new.root is not null and new.parent is not null;
end;
