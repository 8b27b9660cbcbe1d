"""One thread for each root: finds it, follows it while it is there, and waits while it is not."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from eventlog.clock import Clock
from eventlog.errors import LogClosedError, LogError, LogFullError
from eventlog.events import DISK, SUPER_ROOT
from eventlog.log import Log
from projections.tree import Tree
from watcher.backend import Backend, Hints, Place
from watcher.barrier import Barriers, How
from watcher.changes import Changes
from watcher.follower import Follower
from watcher.performer import Performer
from watcher.recorder import Recorder
from watcher.removals import Withheld
from watcher.root import Root, RootAbsentError, open_root
from watcher.rounds import CHECK_SECONDS, Rounds, Shortage
from watcher.scan import Scan
from watcher.session import Session, Settings, device_of
from watcher.settle import Settling
from watcher.status import RootStatus

if TYPE_CHECKING:
    from concurrent.futures import Future

SUSPECTS_MAX = 10_000
"""Places that others ask to have looked at; beyond that the oldest are left to the next scan."""

_MOUNTED = "something was mounted or unmounted"

_log = logging.getLogger(__name__)


class Observer:
    """Observes one root in a thread of its own.

    Args:
        root: which.
        log: where events go.
        settings: how.
        settling: shared with the describer.
        clock: time.
        changed: called after each scan and whenever the root comes or goes; must not block.

    Attributes:
        changes: what faces do to the root; any thread may ask for it.
    """

    def __init__(
        self,
        root: Root,
        log: Log,
        settings: Settings,
        settling: Settling,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self.root = root
        self._log = log
        self._settings = settings
        self._settling = settling
        self._clock = clock
        self._changed = changed
        self._stopping = threading.Event()
        self._rescan_asked = threading.Event()
        self._accept_asked = threading.Event()
        self._suspects: deque[Place] = deque(maxlen=SUSPECTS_MAX)
        self.changes = Changes(settling, clock, self._wake)
        self._barriers = Barriers()
        self._shortage = Shortage(clock)
        self._session: Session | None = None
        self._backend: Backend | None = None
        self._status = RootStatus(root.name, os.fsdecode(root.path))
        self._thread = threading.Thread(target=self._run, name=f"root-{root.name}", daemon=True)

    @property
    def status(self) -> RootStatus:
        """The state of the root as of the last round of work."""
        return self._status

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping.set()
        self._wake()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join()

    def rescan(self) -> None:
        """Have the whole root compared now."""
        self._rescan_asked.set()
        self._wake()

    def accept(self) -> None:
        """Take what is at the root's path for the root, even if it is not what it was."""
        self._accept_asked.set()
        self._wake()

    def suspect(self, place: Place) -> None:
        """Have a place looked at again; any thread may call."""
        self._suspects.append(place)
        self._wake()

    def sync(self) -> "Future[How]":
        """Ask when all that is on the disk now is in the log; any thread may call.

        Returns:
            See `watcher.barrier.Barriers.add`.
        """
        done = self._barriers.add()
        self._wake()
        return done

    def open_root(self) -> int:
        """Open the root's directory for whoever works below it; any thread may call.

        Returns:
            A descriptor, to be closed by the caller.

        Raises:
            RootAbsentError: it is not there, or is not what is observed.
        """
        session = self._session
        if session is None:
            raise RootAbsentError(self._status.reason or "it was not found yet")
        fd = open_root(self.root)
        if device_of(fd) != session.device:
            os.close(fd)
            raise RootAbsentError("another directory is at its path now")
        return fd

    def _wake(self) -> None:
        if (backend := self._backend) is not None:
            backend.wake()

    def _run(self) -> None:
        try:
            self._run_sessions()
        finally:
            self._session = None
            self.changes.close("the server stops")
            self._barriers.close("the server stops")

    def _run_sessions(self) -> None:
        while not self._stopping.is_set():
            try:
                with Session(self._log, self.root, self._settings) as session:
                    self._follow(session)
            except RootAbsentError as error:
                self._rest("offline", str(error))
            except OSError as error:
                self._rest("offline", f"the disk is in trouble: {error}")
            except LogClosedError:
                return
            except LogFullError as error:
                self._rest_without_space(f"nothing can be recorded: {error}")
            except LogError as error:
                self._rest("offline", f"nothing can be recorded: {error}")
            except Exception as error:  # noqa: BLE001 - whatever it is, see below
                # A fault of our own must not end the watching for good: all is looked at again.
                _log.exception("root %s: please report this", self.root.name)
                self._rest("offline", f"an error of nasfeed itself: {error!r}")

    def _rest_without_space(self, reason: str) -> None:
        """Wait until there may be space again; of all attempts in vain only the first is told."""
        self._rest("offline", reason, quietly=self._shortage.goes_on)
        self._shortage.fail()
        while (self._log.full or self._log.reserved) and self._shortage.pauses:
            if self._stopping.wait(CHECK_SECONDS):
                return
            self._barriers.close(f"offline: {reason}")

    def _rest(self, state: str, reason: str, *, quietly: bool = False) -> None:
        """Say why the root is not followed, then wait a little before looking for it again."""
        if self._status.reason != reason and not quietly:
            _log.warning("root %s is %s: %s", self.root.name, state, reason)
        self._session = self._backend = None
        self.changes.close(reason)
        self._barriers.close(f"{state}: {reason}")
        self._set(state=state, reason=reason, watches=0, hints=0, walking=False)
        self._changed()
        self._stopping.wait(CHECK_SECONDS)

    def _set(self, **changes: object) -> None:
        self._status = msgspec.structs.replace(self._status, **changes)

    def _attach(self, session: Session) -> int:
        """Find the root and say how it is followed; returns its number."""
        number = session.attach(accept=self._accept_asked.is_set())
        self._accept_asked.clear()
        self._backend = session.backend
        self._set(
            state="scanning",
            reason="",
            backend=session.backend.name,
            backend_reason=session.reason,
            number=number,
            scanned=session.was_scanned(),
            walking=True,
        )
        path = os.fsdecode(self.root.path)
        told = session.backend.name + (f" ({session.reason})" if session.reason else "")
        level = logging.DEBUG if self._shortage.goes_on else logging.INFO
        _log.log(level, "root %s: scanning %s; changes told by %s", self.root.name, path, told)
        return number

    def _follow(self, session: Session) -> None:
        number, backend = self._attach(session), session.backend
        follower = Follower(
            session.tools,
            self._settling,
            self._clock,
            number,
            session.check,
            self._settings.others_walk,
        )
        session.aftermath = follower.aftermath
        performer = Performer(
            session.tools,
            number,
            follower.record,
            follower.suspect,
            lambda: self._log.head,
            self.changes.writings,
        )
        self._session = session
        self.changes.open()
        follower.start_scan(fresh=not self._status.scanned and not session.was_full)
        rounds = Rounds(
            self._clock, self._settings.rescan_seconds, self._settings.limited_rescan_seconds
        )
        while not self._stopping.is_set():
            longest = follower.wait_seconds(CHECK_SECONDS)
            hints = backend.read(self.changes.writings.wait_seconds(longest))
            self._heed(hints, follower, rounds)
            waited_for = bool(self._barriers)
            self.changes.work(session.check, follower, performer, everything=waited_for)
            done = follower.work()
            if done is not None:
                self._scan_done(session, rounds, done)
            if hints.overflow:
                self._lost_hints(backend, rounds)
            self._plan_scan(session, follower, rounds)
            self._report(session, follower, rounds)
            if self._barriers:
                self._proceed(session, follower, rounds)
            # What is done at once leaves the follower idle, but directories open.
            opened = session.tools.directories.were_opened()
            if rounds.trim_due(idle=follower.idle and not opened):
                session.tools.directories.close()

        # Before it is forgotten who wrote.
        self.changes.work(session.check, follower, performer, everything=True)

    def _heed(self, hints: Hints, follower: Follower, rounds: Rounds) -> None:
        follower.take(hints)
        self._barriers.notice(hints, follower, rounds)
        while self._suspects:
            follower.suspect(self._suspects.popleft())

    def _proceed(self, session: Session, follower: Follower, rounds: Rounds) -> None:
        """Begin the barriers that were asked for, and end those that are reached."""
        number = self._status.number
        if self._barriers.asked:
            session.check()
            if session.mounts_changed():
                rounds.want(_MOUNTED, owed=True)
            fd = session.tools.directories.fd(number)
            if fd is None:
                return  # it has just gone, as the next check will find
            self._barriers.begin(number, fd, rounds, is_noticed=session.is_noticed)
        self._barriers.proceed(follower, rounds)

    def _lost_hints(self, backend: Backend, rounds: Rounds) -> None:
        if backend.name == "poll":
            rounds.want("polling")
        else:
            self._set(overflows=self._status.overflows + 1)
            rounds.want("hints were lost", hurried=True)
            _log.warning("root %s: hints were lost; scanning all of it", self.root.name)

    def _plan_scan(self, session: Session, follower: Follower, rounds: Rounds) -> None:
        if self._rescan_asked.is_set():
            self._rescan_asked.clear()
            rounds.want("asked for")
        if self._accept_asked.is_set():
            self._accept_asked.clear()
            rounds.begin()
            follower.start_scan(accept=True)
        if follower.root_hinted or rounds.check_due():
            follower.root_hinted = False
            if session.mounts_changed():
                rounds.want(_MOUNTED, owed=True)
            session.check()
        if follower.rescan_reason:
            rounds.want(follower.rescan_reason, hurried=True)
            follower.rescan_reason = ""
        due = rounds.scan_due(
            limited=bool(session.limit_message),
            polling_seconds=session.polling_seconds,
            quiet=self._settings.is_quiet(),
        )
        if due and follower.scan is None:
            _log.debug("root %s: scanning: %s", self.root.name, rounds.reason)
            rounds.begin()
            session.scan_began()
            follower.start_scan()

    def _scan_done(self, session: Session, rounds: Rounds, scan: Scan) -> None:
        seconds = rounds.end()
        counts = scan.counts
        first = not self._status.scans
        if not self._status.scanned:
            session.set_scanned()
        session.scan_ended()
        session.backend_scanned(seconds)
        self._set(
            state="online",
            scanned=True,
            scans=self._status.scans + 1,
            scanned_us=self._clock.now_us(),
            repairs=self._status.repairs + (0 if first else counts.events),
            entries=counts.entries,
            directories=counts.directories,
            unreadable=counts.unreadable,
            scan_seconds=seconds,
        )
        is_news = first or counts.events or self._shortage.goes_on
        self._shortage.end()
        level = logging.INFO if is_news else logging.DEBUG
        _log.log(
            level,
            "root %s: scanned %d entries in %d directories in %.1f s, %d events",
            self.root.name,
            counts.entries,
            counts.directories,
            seconds,
            counts.events,
        )
        self._changed()

    def _report(self, session: Session, follower: Follower, rounds: Rounds) -> None:
        scan = follower.scan
        if follower.unmounted and not self._status.unmounted:
            _log.warning(
                "root %s: another filesystem, or none, is mounted on %s; what was recorded there "
                "is kept; if it is gone for good, run: nasfeed confirm-removal %s",
                self.root.name,
                session.path_of(min(follower.unmounted)),
                self.root.name,
            )
        withheld = self._withheld_text(follower.withheld)
        if withheld and not self._status.withheld:
            _log.warning("root %s: %s", self.root.name, withheld)
        self._set(
            watches=session.backend.watches(),
            hints=follower.hints,
            walking=follower.walking,
            unmounted=len(follower.unmounted),
            withheld=follower.withheld.missing,
            warning="; ".join(filter(None, [session.warning, withheld])),
            backend_reason=session.reason,
        )
        if scan is not None:
            self._set(
                state="scanning",
                entries=scan.counts.entries,
                directories=scan.counts.directories,
                scan_seconds=rounds.running(),
            )

    def _withheld_text(self, withheld: Withheld) -> str:
        if not withheld.missing:
            return ""
        return (
            f"{withheld.missing} of {withheld.nodes} nodes are missing, and are kept until they "
            f"are there again, or you run: nasfeed confirm-removal {self.root.name}"
        )


def detach_missing(log: Log, roots: Iterable[Root]) -> list[str]:
    """Remove the roots that the configuration no longer has, with all below them.

    Returns:
        Their names.
    """
    names = {root.raw_name for root in roots}
    recorder = Recorder(log)
    gone = log.call(
        lambda tx: [
            n for n in Tree(tx.connection).children(SUPER_ROOT) if n.state.name not in names
        ]
    )
    for node in gone:
        recorder.remove_root(node, DISK)
    return [os.fsdecode(node.state.name) for node in gone]
