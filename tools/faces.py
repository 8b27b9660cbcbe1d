"""Makes the faces that a configuration asks for, and joins them to what observes their roots."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from api.beneath.root import Beneath
from api.beneath.staging import Staging
from api.credentials import Secrets
from api.filetracker.access import Gate
from api.filetracker.face import Filetracker, Settings
from api.filetracker.store import Store
from api.library.call import Place as LibraryPlace
from api.library.call import Service
from api.library.call import Settings as LibrarySettings
from api.library.face import LibraryFace
from api.library.thumb_cache import ThumbCache
from api.library.thumbs import Thumbs
from api.served import RootUnavailableError, Touched
from eventlog.clock import Clock
from eventlog.errors import LogError
from tools.compose import System
from tools.config import Config, server_files
from tools.document import FiletrackerSection
from tools.errors import OperatorError
from tools.thumbnails.looking import looking
from tools.thumbnails.pool import Pool
from watcher.deeds import RefusedError
from watcher.excludes import Excludes
from watcher.observer import Observer
from watcher.root import RootAbsentError

PACKED_BYTES: Final = 2**28
"""What compressed contents take at most when nothing is configured."""

_LOCAL = ("127.0.0.1", "::1", "localhost")

_log = logging.getLogger("nasfeed")


class FaceRoot:
    """A root as faces see it (`api.served.ServedRoot`).

    Args:
        observer: of the root.
        excluded: which names stay out of the feed.
        private: absolute paths of the server's own files.
    """

    def __init__(self, observer: Observer, excluded: Excludes, private: Sequence[str]) -> None:
        self._observer = observer
        self._excluded = excluded
        top = os.path.realpath(os.fsdecode(observer.root.path))
        inside = (os.path.relpath(os.path.realpath(path), top) for path in private)
        self._private = frozenset(os.fsencode(path) for path in inside)

    @property
    def path(self) -> bytes:
        """Where it is; see `api.served.WritableRoot.path`."""
        return self._observer.root.path

    def open_root(self) -> int:
        """Open the root's directory; see `api.served.ServedRoot.open_root`."""
        try:
            return self._observer.open_root()
        except RootAbsentError as error:
            raise RootUnavailableError(str(error)) from error

    def perform(
        self,
        act: Callable[[], Sequence[Touched]],
        about: tuple[bytes, ...],
        author: str,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """Make a change and record it; see `api.served.ServedRoot.perform`."""
        with _available():
            if meanwhile is None:
                return self._observer.changes.perform(act, about, author).result()
            return self._perform_beside(act, about, author, meanwhile)

    def _perform_beside(
        self,
        act: Callable[[], Sequence[Touched]],
        about: tuple[bytes, ...],
        author: str,
        meanwhile: Callable[[], None],
    ) -> int:
        over, made = threading.Event(), []

        def noted() -> Sequence[Touched]:
            touched = act()
            made.append(True)
            over.set()
            return touched

        done = self._observer.changes.perform(noted, about, author)
        done.add_done_callback(lambda _: over.set())  # also if it was refused, or has failed
        over.wait()
        if made:
            try:
                meanwhile()
            except BaseException:
                done.exception()  # whoever is told of a failure may look what has become of it
                raise
        return done.result()

    def begin(
        self, act: Callable[[], Sequence[Touched]], about: tuple[bytes, ...], author: str
    ) -> Future[int]:
        """Make a change without waiting; see `api.served.WritableRoot.begin`."""
        told: Future[int] = Future()
        told.set_running_or_notify_cancel()  # whoever goes away leaves it to be made
        begun = self._observer.changes.perform(act, about, author)
        begun.add_done_callback(lambda done: _hand_on(done, told))
        return told

    def write(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Change bytes of a file; see `api.served.ServedRoot.write`."""
        with _available():
            self._observer.changes.write(act, path, author)

    def amend(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Change something else; see `api.served.WritableRoot.amend`."""
        with _available():
            self._observer.changes.amend(act, path, author)

    def settle(self, path: bytes, author: str) -> None:
        """Record what was written; see `api.served.ServedRoot.settle`."""
        with _available():
            self._observer.changes.settle(path, author)

    def is_own(self, path: bytes) -> bool:
        """Say whether a file is the server's; see `api.served.ServedRoot.is_own`."""
        return path in self._private

    def hides(self, path: bytes) -> bool:
        """Say whether a path is none of a client's business; see `api.served.ServedRoot.hides`."""
        return path in self._private or self._excluded(path.rpartition(b"/")[2])


def _hand_on(done: Future[int], told: Future[int]) -> None:
    """Hand on how a change ended, as faces know it."""
    try:
        with _available():
            told.set_result(done.result())
    except BaseException as error:  # noqa: BLE001 - for whoever asked
        told.set_exception(error)


@contextlib.contextmanager
def _available() -> Iterator[None]:
    """Have a root that cannot be changed now refused as faces know it."""
    try:
        yield
    except (RefusedError, RootAbsentError, LogError) as error:
        raise RootUnavailableError(str(error)) from error


def filetracker(config: Config, system: System, clock: Clock) -> Filetracker | None:
    """Return the file store, or None when there is to be none.

    Args:
        config: of the server.
        system: observes the roots.
        clock: time.

    Raises:
        OperatorError: its configuration is wrong.
    """
    given = config.filetracker
    if given.root is None:
        return None
    observer = next((o for o in system.observers if o.root.name == given.root), None)
    if observer is None:
        known = ", ".join(o.root.name for o in system.observers)
        raise OperatorError(
            f"filetracker.root: there is no root {given.root!r}; there are: {known}"
        )
    private = server_files(config.database, config.log_path)
    root = FaceRoot(observer, Excludes(config.exclude), private)
    store = Store(root, clock, given.keep_versions, given.quota, _packed_max(given))
    settings = Settings(
        prefix=_prefix(given.prefix or ""),
        size_max=given.max_file_size,
        fallback_url=given.fallback_url or "",
        keep_days=given.keep_days,
    )
    if not (given.tokens or given.read_tokens or config.token) and config.host not in _LOCAL:
        _log.warning(
            "anyone who reaches %s may change the files of root %s; set filetracker.tokens",
            config.host,
            given.root,
        )
    tokens = Secrets(_tokens(config), given.read_tokens or {})
    return Filetracker(store, Gate(tokens), settings, clock)


def library(config: Config, system: System, clock: Clock) -> LibraryFace | None:
    """Return the media library, or None when there is to be none.

    Args:
        config: of the server.
        system: observes the roots.
        clock: time.
    """
    given = config.library
    if not given.enabled:
        return None
    private = server_files(config.database, config.log_path)
    places: dict[str, LibraryPlace] = {}
    for observer in system.observers:
        root = FaceRoot(observer, Excludes(config.exclude), private)
        beneath = Beneath(root.open_root)
        name = observer.root.name
        places[name] = LibraryPlace(name, root, beneath, Staging(beneath))
    settings = LibrarySettings(
        online_max=given.online_threshold,
        online_seconds=given.online_timeout,
        shares_max=given.share_url_threshold,
        share_seconds=given.share_url_timeout,
        upload_seconds=given.upload_timeout,
        upload_max=given.upload_max,
        trash_days=given.trash_days,
        trash_bytes=given.trash_bytes,
    )
    service = Service(system.library, places, clock, settings)
    directory = Path(given.thumb_path or f"{config.database}.thumbs").expanduser().absolute()
    cache = ThumbCache(directory, given.thumb_bytes)
    pool = Pool(given.thumb_workers)
    return LibraryFace(service, Thumbs(cache, looking(pool)), pool.close)


def _packed_max(given: FiletrackerSection) -> int:
    return PACKED_BYTES if given.gzip_cache is None else given.gzip_cache


def _tokens(config: Config) -> dict[str, str]:
    """Whoever wants a token for the feed would not leave the files open to all."""
    given = config.filetracker
    if given.tokens or given.read_tokens or config.token is None:
        return given.tokens or {}
    return {"": config.token}


def _prefix(text: str) -> bytes:
    prefix = text.rstrip("/")
    if prefix and (not prefix.startswith("/") or not prefix.isascii() or "%" in prefix):
        raise OperatorError(f"filetracker.prefix: {text!r} must be a plain path such as /store")
    return prefix.encode()
