"""Somebody who uses the media library of a world, and knows what must come of each request.

What a request says that it did is compared at once with the disk, which nobody else changes
meanwhile: all of it must be there, and nothing else may be another. A request that was cut by a
kill must have done all of it or nothing.
"""

import contextlib
import http.client
import itertools
import os
import random
import threading
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from eventlog.connection import open_reader
from eventlog.events import SUPER_ROOT
from projections.library import Library
from projections.tree import Tree
from tests.api.library.family import Person, Reply, hashed
from tests.convergence.disk import Entry, Picture, differences, picture
from tests.convergence.sendings import ProgressLostError, Sending
from tests.serving import DEADLINE_SECONDS, wait_until
from tools import control

USER: Final = "Terry"

NAMES: Final = ["a", "c", "photo", "d d", "é", "b.x"]
"""Some of them, or with their endings, are names that the disk operations use, too."""

ENDINGS: Final = ["bin", "txt", "jpg"]

SIZES: Final = [0, 1, 3000, 200_000]

TRASH: Final = b".nasfeed/trash"

OWN: Final = b".nasfeed"

Changes = dict[bytes, tuple[Entry | None, Entry | None]]


class LibraryDivergedError(AssertionError):
    """A request did something else than it said."""


class UnansweredError(AssertionError):
    """A list was refused."""


class Thrown(NamedTuple):
    """Something in the trash.

    Attributes:
        root: path of the root.
        path: where it was, absolute.
        key: its name in the trash.
        content: what it is, by paths below it; it itself is at the empty one.
        memo: what was said of it; None for nothing.
        shared: which files in it had links elsewhere.
    """

    root: bytes
    path: bytes
    key: bytes
    content: Picture
    memo: str | None
    shared: frozenset[bytes]


class Household:
    """A user of the library. Everything here is done by the thread that changes the disk.

    Args:
        roots: directory of each root by name.
        database: the log's file.
        seed: of what the user does.
    """

    def __init__(self, roots: dict[str, Path], database: Path, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - what happens must be repeatable
        self._roots = {name: os.fsencode(path) for name, path in roots.items()}
        self._paths = list(roots.values())
        self._database = str(database)
        self._person = Person(0)
        self._kill: Callable[[], None] | None = None
        self._killer: threading.Thread | None = None
        self._sendings: list[Sending] = []
        self._unknown = 0
        self._doubtful: list[Sending] = []
        self._trash: list[Thrown] = []
        self._times = itertools.count(1_000_000_000)
        self._is_synced = False
        self._at_kill: Picture = {}
        self.done: dict[str, int] = {}

    def meet(self, url: str) -> None:
        """Use a server, which may be another process than before."""
        self._person.port = urlsplit(url).port or 0
        if not self._person.cookie:
            wait_until(self._can_sync, "all roots were seen")
            rights = [(name, True) for name in self._roots]
            wanted = {"action": "add", "name": USER, "password": hashed(), "rights": rights}
            control.call(self._database, "library-user", wanted)
            assert self._person.log_in(USER.lower()).code == 0
        wait_until(lambda: not self._whole(), "what was whole when a server ended is a file")

    def act(self, count: int) -> None:
        """Make so many requests.

        Raises:
            LibraryDivergedError: one did something else than it said.
        """
        for _ in range(count):
            self._act()

    def act_through_a_kill(self, kill: Callable[[], None]) -> None:
        """Make one request, and have the server killed in the middle of it, or soon after.

        Args:
            kill: kills it and waits for its end.

        Raises:
            LibraryDivergedError: what is there is not what may be.
        """
        self._kill = kill
        try:
            self._act()
        finally:
            self._kill = None
            if self._killer is None:
                kill()
            else:
                self._killer.join()
                self._killer = None
            self._at_kill = self._picture()

    def _act(self) -> None:
        acts: list[tuple[int, Callable[[], bool]]] = [
            (4, self._announce),
            (6, self._go_on),
            (4, self._delete),
            (4, self._restore),
            (2, self._make_catalog),
            (2, self._say),
        ]
        self._forget_whole()
        self._is_synced = self._random.random() < 0.7
        if self._is_synced:  # else the server may not know yet what is on the disk
            wait_until(self._can_sync, "the server knows what is on the disk")
        weights = [weight for weight, _ in acts]
        [act] = self._random.choices([act for _, act in acts], weights)
        if act():
            name = act.__name__.strip("_")
            self.done[name] = self.done.get(name, 0) + 1

    # Requests.

    def _can_sync(self) -> bool:
        """Wait until the server knows all that was done on the disk; or say that it cannot."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._person.port, timeout=DEADLINE_SECONDS
        )
        with contextlib.closing(connection):
            connection.request("GET", "/api/v1/cursor?sync=10")
            return connection.getresponse().status == 200

    def _ask(self, ask: Callable[[], Reply]) -> Reply | None:
        """Return an answer, or None when a kill was faster; then the server has ended."""
        if self._kill is None:
            return ask()
        if self._killer is None:
            self._killer = threading.Thread(target=self._kill_soon, args=(self._kill,))
            self._killer.start()
        try:
            return ask()
        except (OSError, http.client.HTTPException):
            self._killer.join()
            return None

    def _kill_soon(self, kill: Callable[[], None]) -> None:
        # The moment is left to chance: any of them must do.
        threading.Event().wait(self._random.choice([0, 0.003, 0.01, 0.03]))
        kill()

    def _post(self, name: str, /, **parameters: Any) -> Reply | None:  # noqa: ANN401 - anything
        return self._ask(lambda: self._person.post(name, **parameters))

    # What is there.

    def _picture(self) -> Picture:
        return picture(self._paths)

    def _number(self, path: bytes) -> int:
        with contextlib.closing(open_reader(self._database)) as connection, connection:
            node = Tree(connection).resolve(path)
        return node.number if node else 0

    def _root_of(self, path: bytes) -> bytes:
        return next(r for r in self._roots.values() if path == r or path.startswith(r + b"/"))

    def _some(self, kind: str, *, roots: bool = True) -> bytes | None:
        found = sorted(
            path
            for path, entry in self._picture().items()
            if entry.kind == kind and (roots or path not in self._roots.values())
        )
        return self._random.choice(found) if found else None

    def _changes(
        self, before: Picture, *, right: Container[bytes] = (), own: Sending | None = None
    ) -> Changes:
        """Return what is another than before, but for uploads that became files by themselves.

        Args:
            before: what was there.
            right: paths that are to be new.
            own: an upload that is to become a file.
        """
        changed = differences(before, self._picture())
        for path, (old, new) in list(changed.items()):
            is_own = path in right or (own is not None and new is not None and is_of(own, new))
            if old is None and new is not None and not is_own and self._came_by_itself(new):
                del changed[path]
        return changed

    def _came_by_itself(self, new: Entry) -> bool:
        """Say whether a file is what became of an upload of which all may have come."""
        for sending in self._doubtful:
            if is_of(sending, new):
                self._doubtful.remove(sending)
                return True
        return any(each.may_be_whole and is_of(each, new) for each in self._sendings)

    def _expect(self, condition: object, what: str) -> None:
        if not condition:
            raise LibraryDivergedError(what)

    def _refused(self, reply: Reply, before: Picture, what: str) -> None:
        """Check that what was refused changed nothing."""
        changed = self._changes(before)
        self._expect(not changed, f"{what} was refused ({reply}), and yet: {_few(changed)}")

    # Uploads.

    def _announce(self) -> bool:
        directory = self._some("directory")
        number = self._number(directory) if directory else 0
        if directory is None or not number:
            return False
        size = self._random.choice(SIZES)
        sending = Sending(
            directory,
            self._random.choice(NAMES),
            self._random.choice(ENDINGS),
            self._random.randbytes(size),
            next(self._times),
            by_tus=self._random.random() < 0.3,
        )
        before = self._picture()
        known = self._names(directory)
        reply = self._ask(lambda: sending.announce(self._person, number))
        if reply is None:
            self._unknown += 1
            if not self._placed(sending, known, before, has_to=False) and sending.may_be_whole:
                self._doubtful.append(sending)
            return True
        if not sending.take(reply):
            self._expect(not self._is_synced, f"an upload into {directory!r} is refused: {reply}")
            self._refused(reply, before, "an upload")
            return False
        if size == 0:
            self._placed(sending, known, before, has_to=True)
        else:
            self._sendings.append(sending)
        return True

    def _go_on(self) -> bool:
        if not self._sendings:
            return False
        sending = self._random.choice(self._sendings)
        if self._kill is None and self._random.random() < 0.4:
            sending.send_cut(self._person, self._random)
            return True
        before, known = self._picture(), self._names(sending.directory)
        everything = self._random.random() < 0.7
        try:
            result = sending.send(self._person, self._ask, self._random, everything=everything)
        except ProgressLostError:
            # Somebody moved its catalog to another root, where nothing of it is.
            if self._is_synced and self._number(sending.directory) == sending.catalog:
                raise
            sending.forget_progress()
            return True
        if result == "refused":
            # The catalog that it was for is not there any more, at least not for the server.
            is_there = self._is_synced and self._number(sending.directory) == sending.catalog
            self._expect(not is_there, f"{sending} cannot go on")
            changed = self._changes(before)
            self._expect(not changed, f"{sending} was refused, and yet: {_few(changed)}")
            self._sendings.remove(sending)
            self._unknown += 1
            if sending.may_be_whole:
                self._doubtful.append(sending)
            return True
        if self._placed(sending, known, before, has_to=result == "done"):
            self._sendings.remove(sending)
        return True

    def _names(self, directory: bytes) -> set[bytes] | None:
        try:
            return {os.fsencode(name) for name in os.listdir(directory)}  # noqa: PTH208 - raw
        except OSError:
            return None

    def _placed(
        self, sending: Sending, known: set[bytes] | None, before: Picture, *, has_to: bool
    ) -> bool:
        """Check that a file came of an upload, whole and where it belongs, and nothing else."""
        changed = self._changes(before, own=sending)
        if not changed and not has_to:
            return False
        self._expect(len(changed) == 1, f"{sending} is done: {_few(changed)}")
        [(path, (old, new))] = changed.items()
        self._expect(old is None and new is not None, f"{sending} took the place of {path!r}")
        self._expect(new and is_of(sending, new), f"{sending} became {path!r}: {new}")
        if self._is_current(sending, known):
            free = sending.directory + b"/" + unique(sending.file_name, known or set())
            self._expect(path == free, f"{sending} became {path!r}, not {free!r}")
        return True

    def _is_current(self, sending: Sending, known: set[bytes] | None) -> bool:
        """Say whether the server knew where the upload's catalog is when it was placed."""
        return (
            self._is_synced
            and known is not None
            and self._kill is None
            and (self._number(sending.directory) == sending.catalog)
        )

    # Catalogs, and what is said.

    def _make_catalog(self) -> bool:
        above = self._some("directory")
        number = self._number(above) if above else 0
        if above is None or not number:
            return False
        name, before, known = self._random.choice(NAMES), self._picture(), self._names(above)
        reply = self._post("createCatalog", parentId=number, name=name, memo="made")
        if reply is not None and reply.code != 0:
            self._expect(not self._is_synced, f"a catalog in {above!r} is refused: {reply}")
            self._refused(reply, before, "a catalog")
            return False
        changed = self._changes(before)
        if reply is None and not changed:
            return True
        self._expect(len(changed) == 1, f"a catalog was made: {_few(changed)}")
        [(path, (_, new))] = changed.items()
        self._expect(new == Entry("directory"), f"a catalog became {path!r}: {new}")
        if self._is_synced:
            free = above + b"/" + unique(name.encode(), known or set())
            self._expect(path == free, f"a catalog became {path!r}, not {free!r}")
        return True

    def _say(self) -> bool:
        """Say something of a file, which changes nothing on the disk."""
        path = self._some("file")
        number = self._number(path) if path else 0
        if not number:
            return False
        before = self._picture()
        reply = self._post("updateFile", id=number, memo=f"memo {self._random.random()}")
        self._expect(not self._changes(before), f"a memo changed the disk: {reply}")
        self._expect(
            reply is None or reply.code == 0 or not self._is_synced, f"no memo of {path!r}: {reply}"
        )
        return True

    def _memo(self, number: int) -> str | None:
        with contextlib.closing(open_reader(self._database)) as connection, connection:
            found = Library(connection).note(number)
        return found[1].memo if found else None

    # The trash.

    def _delete(self) -> bool:
        kind = self._random.choice(["file", "file", "directory"])
        path = self._some(kind, roots=False)
        number = self._number(path) if path else 0
        if path is None or not number:
            return False
        before, keys, memo = self._picture(), self._keys(), self._memo(number)
        name = "deleteFiles" if kind == "file" else "deleteCatalog"
        reply = self._post(name, ids=str(number))
        if reply is not None and reply.code != 0:
            self._expect(not self._is_synced, f"{path!r} cannot be deleted: {reply}")
            self._refused(reply, before, "deleting")
            return False
        changed = self._changes(before)
        if reply is None and not changed:
            return True
        self._expect(changed.keys() <= before.keys(), f"deleting {path!r} made {_few(changed)}")
        top = path if self._is_synced else min(changed, key=len, default=path)
        gone = below(before, top)
        self._expect(changed.keys() == gone.keys(), f"{path!r} was deleted: {_few(changed)}")
        new = self._keys() - keys
        self._expect(len(new) == 1, f"{path!r} was deleted: new in the trash is {new}")
        [(root, key)] = new
        content = {each[len(top) :]: entry for each, entry in gone.items()}
        kept = memo if kind == "file" else None
        thrown = Thrown(root, top, key, content, kept, shared(root, key, content))
        self._check_thrown(thrown)
        self._trash.append(thrown)
        return True

    def _check_thrown(self, thrown: Thrown) -> None:
        found = in_trash(thrown)
        for path in thrown.shared & found.keys():  # whoever has another link may write to it
            thrown.content[path] = found[path]
        self._expect(
            found == thrown.content,
            f"{thrown.path!r} is in the trash as {_few(differences(thrown.content, found))}",
        )

    def _keys(self) -> set[tuple[bytes, bytes]]:
        found: set[tuple[bytes, bytes]] = set()
        for root in self._roots.values():
            with contextlib.suppress(FileNotFoundError):
                found |= {(root, key) for key in os.listdir(root + b"/" + TRASH)}  # noqa: PTH208
        return found

    def _restore(self) -> bool:
        if not self._trash:
            return False
        thrown = self._random.choice(self._trash)
        self._check_thrown(thrown)
        number = self._entities().get(thrown.key, 0)
        self._expect(number, f"the trash does not know {thrown.path!r} any more")
        before = self._picture()
        right = restored(thrown, before, self._names(thrown.path.rpartition(b"/")[0]))
        reply = self._post("restoreTrash", ids=str(number))
        changed = self._changes(before, right=right or ())
        if reply is not None and reply.code != 0:
            self._expect(right is None, f"{thrown.path!r} cannot come back: {reply}")
            # Directories on the way may have been made.
            self._check_thrown(thrown)
            return False
        if reply is None and (root_key := (thrown.root, thrown.key)) in self._keys():
            made = all(new == Entry("directory") for _, new in changed.values())
            self._expect(made, f"{thrown.path!r} is half back: {_few(changed)} {root_key}")
            return True
        self._expect(
            right is not None and changed == differences(before, before | right),
            f"{thrown.path!r} came back as {_few(changed)}",
        )
        assert right is not None
        if thrown.memo is not None and reply is not None:
            where = max(right, key=len)
            memo = self._memo(self._number(where))
            self._expect(memo == thrown.memo, f"{where!r} has the memo {memo}, not {thrown.memo}")
        self._trash.remove(thrown)
        return True

    def _entities(self) -> dict[bytes, int]:
        with contextlib.closing(open_reader(self._database)) as connection, connection:
            found = Library(connection).trash()
        return {state.key.encode(): number for number, state in found}

    # The end of a history.

    def differences(self, truth: Picture) -> dict[str, object]:
        """Return what the library shows that is not so.

        Args:
            truth: what is on the disk.
        """
        if not self._person.cookie:
            return {}
        try:
            return self._differences(truth)
        except UnansweredError as error:  # something of a list went while it was read
            return {"the library": str(error)}

    def _differences(self, truth: Picture) -> dict[str, object]:
        paths = self._paths_of_nodes()
        views = {
            "files": (_files(truth), {paths.get(n): size for n, size in self._listed()}),
            "catalogs": (_catalogs(truth), {paths.get(n): c for n, c in self._shown()}),
            "uploads": self._uploads(),
            "the trash": self._trashed(),
        }
        found: dict[str, object] = {
            f"the library's {name}": f"{_unlike(right, shown)}"
            for name, (right, shown) in views.items()
            if right != shown
        }
        for thrown in self._trash:
            self._check_thrown(thrown)
        keys = {(thrown.root, thrown.key) for thrown in self._trash}
        if self._keys() != keys:
            found["in the trash"] = self._keys() ^ keys
        return found

    def _get(self, name: str, /, **parameters: Any) -> Any:  # noqa: ANN401 - as JSON is
        reply = self._person.get(name, **parameters)
        if reply.code != 0:
            raise UnansweredError(f"{name} {parameters}: {reply}")
        return reply.data

    def _paths_of_nodes(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        with contextlib.closing(open_reader(self._database)) as connection, connection:
            tree = Tree(connection)
            waiting = [(n, n.state.target) for n in tree.children(SUPER_ROOT)]
            while waiting:
                node, path = waiting.pop()
                found[node.number] = path
                if node.state.is_directory:
                    children = tree.children(node.number)
                    waiting += [(n, path + b"/" + n.state.name) for n in children]
        return found

    def _listed(self) -> Iterator[tuple[int, int]]:
        for index in itertools.count():
            sort = self._random.choice([0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
            data = self._get("files", pageIndex=index, maxPerPage=10_000, sort=sort)
            yield from ((each["id"], each["size"]) for each in data["list"])
            if index + 1 >= data["page"]["pageCount"]:
                return

    def _shown(self) -> Iterator[tuple[int, tuple[int, int]]]:
        wanted = "-1"
        while wanted:
            found = self._get("catalogs", pids=wanted)
            for each in found:
                yield each["id"], (each["subCatalogCount"], each["fileCount"])
            wanted = ",".join(str(each["id"]) for each in found if each["subCatalogCount"])

    def _uploads(self) -> tuple[set[int], set[int]]:
        self._forget_whole()
        listed, mine = set(self._uploading()), {each.number for each in self._sendings}
        # Those that nobody heard of any more may be there, or not.
        return (
            (listed, listed)
            if len(listed - mine) <= self._unknown and mine <= listed
            else (
                mine,
                listed,
            )
        )

    def _trashed(self) -> tuple[set[int], set[int]]:
        entities = self._entities()
        mine = {entities.get(thrown.key, 0) for thrown in self._trash}
        return mine, {each["id"] for each in self._person.get("trash").data}

    def recover(self) -> None:
        """After a kill, see to it that a request that was cut did all or nothing.

        An upload whose last byte had come may have become a file by itself.
        """
        new = self._changes(self._at_kill)
        self._expect(not new, f"there is more after a kill: {_few(new)}")
        listed = self._uploading()
        ended = [each for each in self._sendings if each.number not in listed]
        files = self._picture().values() if ended else ()
        for sending in ended:
            became = sending.may_be_whole and any(is_of(sending, file) for file in files)
            self._expect(became, f"{sending} ended in a kill")
            self._sendings.remove(sending)

    def _forget_whole(self) -> None:
        """Forget uploads that became files by themselves since, as their catalogs came back."""
        if any(each.may_be_whole for each in self._sendings):
            listed = self._uploading()
            kept = (s for s in self._sendings if s.number in listed or not s.may_be_whole)
            self._sendings = list(kept)

    def _whole(self) -> list[int]:
        """Return uploads of which all has come and that are no files yet, and could be."""
        whole = [
            (number, each["catalogId"])
            for number, each in self._uploading().items()
            if each["uploadingOriginSize"] == each["size"]
        ]
        nodes = self._paths_of_nodes() if whole else {}
        return [number for number, catalog in whole if catalog in nodes]

    def _uploading(self) -> dict[int, dict[str, Any]]:
        return {each["id"]: each for each in self._person.get("uploadingInfo").data}


def is_of(sending: Sending, file: Entry) -> bool:
    """Say whether a file is what an upload must become."""
    return file == sending.entry(file.mtime_us)


def unique(name: bytes, taken: set[bytes]) -> bytes:
    """Return a name that is not taken: itself, or with the first free number before its ending."""
    stem, dot, ending = name.rpartition(b".")
    if not stem:
        stem, dot, ending = name, b"", b""
    numbered = (b"%b (%d)%b%b" % (stem, n, dot, ending) for n in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def below(whole: Picture, top: bytes) -> Picture:
    """Return what is at a path and below it."""
    return {p: e for p, e in whole.items() if p == top or p.startswith(top + b"/")}


def shared(root: bytes, key: bytes, content: Picture) -> frozenset[bytes]:
    """Return the files in something in the trash that have links elsewhere."""
    top = b"/".join([root, TRASH, key])
    files = (path for path, entry in content.items() if entry.kind == "file")
    return frozenset(path for path in files if linked(top + path))


def linked(path: bytes) -> bool:
    """Say whether a file is there, and has other names."""
    try:
        return os.lstat(path).st_nlink > 1
    except FileNotFoundError:
        return False


def in_trash(thrown: Thrown) -> Picture:
    """Return what lies in the trash, by paths below it."""
    top = b"/".join([thrown.root, TRASH, thrown.key])
    if not os.path.lexists(top):
        return {}
    return {path[len(top) :]: entry for path, entry in picture([Path(os.fsdecode(top))]).items()}


def restored(thrown: Thrown, before: Picture, taken: set[bytes] | None) -> Picture | None:
    """Return what must be new when something is put back; None when it cannot be."""
    above, _, name = thrown.path.rpartition(b"/")
    made: Picture = {}
    way = above
    while way not in before:
        if os.path.lexists(way):  # something that is no business of the feed's
            return None
        made[way] = Entry("directory")
        way = way.rpartition(b"/")[0]
    if before[way].kind != "directory":
        return None
    top = above + b"/" + unique(name, taken or set())
    return made | {top + path: entry for path, entry in thrown.content.items()}


def _files(truth: Picture) -> dict[bytes | None, int]:
    return {path: entry.size for path, entry in truth.items() if entry.kind == "file"}


def _catalogs(truth: Picture) -> dict[bytes | None, tuple[int, int]]:
    counts = {path: [0, 0] for path, entry in truth.items() if entry.kind == "directory"}
    for path, entry in truth.items():
        above = counts.get(path.rpartition(b"/")[0])
        if above is not None and entry.kind in ("directory", "file"):
            above[entry.kind == "file"] += 1
    return {path: (catalogs, files) for path, (catalogs, files) in counts.items()}


def _few(changed: dict[bytes, Any]) -> object:
    return dict(itertools.islice(changed.items(), 6))


def _unlike(right: Any, shown: Any) -> object:  # noqa: ANN401 - of any view
    if isinstance(right, dict):
        unlike = (k for k in right.keys() | shown.keys() if right.get(k) != shown.get(k))
        return {k: (right.get(k), shown.get(k)) for k in itertools.islice(unlike, 6)}
    return right, shown
