"""Follows one root while it is there: hints, scans and removals, in one thread.

Every batch is recorded before the next look, so the reader's tree is never behind what this root
has recorded, and an older look can never be stored after a newer one.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from eventlog.clock import Clock
from eventlog.events import DISK
from projections.tree import Node
from watcher.backend import NOTHING, Hints, Place, Sign
from watcher.news import has_news, is_anothers
from watcher.reconcile import Gone
from watcher.recorder import Recorded
from watcher.removals import Withheld, sort_gone, withhold
from watcher.scan import Scan, Tools
from watcher.settle import Settling
from watcher.widen import Batch

LOOKS_MAX = 5_000
"""Places looked at and recorded together."""

MOVE_GRACE_SECONDS = 0.2
"""How long the other half of a rename is waited for before a name counts as gone."""

MOVE_MAX_SECONDS = 10.0
"""How long it is waited for while new directories are still being listed."""

LOST_SECONDS = 2.0
"""How long a directory is searched for before the whole root is scanned for it."""

LOST_MAX_SECONDS = 10.0
"""How long it is searched for while something waits that may say where it is, or was."""

OTHERS_SECONDS = 60.0
"""How long removals that a scan found wait until the other roots have been walked."""

RETRY_SECONDS = 0.02


class _Held(NamedTuple):
    gone: Gone
    since: float


class _Lost(NamedTuple):
    sign: Sign
    since: float


class Follower:
    """Work on a root that is online.

    Args:
        tools: of this root and thread.
        settling: shared with the describer.
        clock: time.
        root: node number of the root.
        check: raises RootAbsentError when the root is no longer there; called before removals.
        others_walk: whether another root is being walked, in which something may turn up that is
            missing here.
    """

    def __init__(
        self,
        tools: Tools,
        settling: Settling,
        clock: Clock,
        root: int,
        check: Callable[[], None],
        others_walk: Callable[[], bool],
    ) -> None:
        self.scan: Scan | None = None
        self.unmounted: frozenset[int] = frozenset()
        self.root_hinted = False
        self.rescan_reason = ""
        self.withheld = Withheld()
        self._tools = tools
        self._settling = settling
        self._clock = clock
        self._root = root
        self._check = check
        self._others_walk = others_walk
        self._walked: float | None = None
        # What happened before the first scan was told by nobody: that is one loss of hints.
        self._losses = 1
        self._losses_at_start = 0
        self._made_good = 0
        self._below: list[Scan] = []
        self._held: dict[int, _Held] = {}
        self._lost: dict[Place, _Lost] = {}
        self._unlisted: dict[int, float] = {}

    @property
    def busy(self) -> bool:
        """Whether there is work that waits for nothing."""
        return self.walking or bool(self._below) or self._settling.next_due() == 0

    @property
    def walking(self) -> bool:
        """Whether the scan of the whole root has places left that it has not seen."""
        return self.scan is not None and not self.scan.walked

    @property
    def _patience_seconds(self) -> float:
        return LOST_MAX_SECONDS if self.busy or self._held else LOST_SECONDS

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do at all."""
        waits = self._held or self._lost or self._unlisted or len(self._settling)
        return not (self.busy or self.scan is not None or waits)

    @property
    def hints(self) -> int:
        """How many places wait."""
        return len(self._settling) + len(self._lost) + len(self._held) + len(self._unlisted)

    @property
    def taken(self) -> int:
        """How many hints were ever looked at; a place that was hinted at again counts again."""
        return self._settling.taken

    def hurry(self) -> int:
        """Have all that was noticed looked at without delay.

        Returns:
            What `taken` is when the last of it was looked at.
        """
        return self._settling.hurry()

    def debts(self) -> frozenset[object]:
        """Return what stands for everything that looks led to and that is still to be done."""
        lost = ((place, lost.since) for place, lost in self._lost.items())
        held = ((number, held.since) for number, held in self._held.items())
        return frozenset([*self._below, *lost, *held, *self._unlisted])

    def start_scan(self, *, fresh: bool = False, accept: bool = False) -> None:
        """Begin to compare the whole root, in the place of any scan that goes on.

        Args:
            fresh: nothing was ever recorded below the root.
            accept: believe also that other filesystems are mounted below it than before.
        """
        if self.scan is not None:
            self.scan.close()
        self._below.clear()
        self._walked = None
        self._losses_at_start = self._losses
        self.scan = Scan(
            self._tools,
            self._root,
            self._settling.is_held,
            fresh=fresh,
            accept=accept,
            helped=True,
        )

    def wait_seconds(self, longest: float) -> float:
        """Return how long nothing needs to be done unless a hint comes."""
        if self.busy:
            return 0.0
        now = self._clock.monotonic()
        times = [longest]
        if (due := self._settling.next_due()) is not None:
            times.append(due - now)
        if self._lost or self._unlisted or self.scan is not None:
            times.append(RETRY_SECONDS)
        times += [held.since + MOVE_GRACE_SECONDS - now for held in self._held.values()]
        return max(0.0, min(times))

    @property
    def _doubtful(self) -> bool:
        """Whether hints were lost since the last scan began that has ended.

        What the kernel says of a file is then not all that happened to it: after a rename it may
        have been written as well. So everything is looked at as a scan does.
        """
        return self._losses > self._made_good

    def suspect(self, place: Place) -> None:
        """Look at a place again, because what was recorded of it is not what someone found."""
        self._settling.note(place, Sign.ATTRIBUTES, self._clock.monotonic())

    def take(self, hints: Hints) -> None:
        """Take hints from the backend."""
        now = self._clock.monotonic()
        self._losses += hints.overflow
        for place, sign in hints.signs.items():
            if place.name:
                self._settling.note(place, sign, now)
            else:
                self._take_own(place.directory, sign, now)

    def _take_own(self, directory: int, sign: Sign, now: float) -> None:
        """Take a hint about a directory itself."""
        if Sign.UNMOUNTED in sign:
            # It may be mounted again by now. Nothing below it is watched any more.
            self.rescan_reason = "a filesystem was unmounted"
        if directory == self._root:
            self.root_hinted = True
        elif Sign.ATTRIBUTES in sign and (node := self._tools.tree.node(directory)):
            place = Place(node.state.parent, node.state.name)
            self._settling.note(place, Sign.ATTRIBUTES, now)

    def work(self) -> Scan | None:
        """Do one round of work: a fraction of a second at most.

        Returns:
            The scan of the whole root that was completed, if one was.

        Raises:
            OSError: the disk is in trouble.
            RootAbsentError: the root has gone.
            LogError: nothing can be recorded now; the hints of this round are kept.
        """
        now = self._clock.monotonic()
        places = self._settling.take(now, LOOKS_MAX)
        for place, lost in self._lost.items():
            places[place] = places.get(place, NOTHING) | lost.sign
        if places:
            self.flush()
            try:
                self._look(places, now)
            except BaseException:
                for place, sign in places.items():
                    self._settling.note(place, sign, now)
                raise
        self._find_unlisted(now)
        done = self._step()
        self._bury_held(now)
        return done

    def flush(self) -> None:
        """Record what scans have seen, so that it is not recorded after newer looks."""
        for scan in [*self._below, *([self.scan] if self.scan else [])]:
            scan.give_way()

    def _look(self, places: dict[Place, Sign], now: float) -> None:
        batch: Batch = {}
        lost: dict[Place, _Lost] = {}
        looker, directories, doubtful = self._tools.looker, self._tools.directories, self._doubtful
        foreign = self._give_away({place.directory for place in places})
        for place, sign in places.items():
            if place.directory in foreign:
                self._tools.elsewhere(place)
                continue
            try:
                fd = directories.fd(place.directory)
                if fd is None:
                    before = self._lost.get(place)
                    lost[place] = _Lost(sign, before.since if before else now)
                elif not looker.hidden.is_private(fd, place.name):
                    seen = looker.look(fd, place, NOTHING if doubtful else sign)
                    if not is_anothers(seen, self._settling, self._tools.tree):
                        batch[place] = seen
            except PermissionError:
                continue  # what cannot be looked at stays as it is known; scans count it
        self._tools.widener.widen(batch)
        self._tools.vanished.note(places, batch, self._tools.tree)
        if has_news(batch, self._tools.tree):
            self.record(batch, DISK)
        self._lost = lost
        self._give_up_lost(now)

    def _give_away(self, numbers: Iterable[int]) -> set[int]:
        """Stop watching directories that were moved to another root; returns which were."""
        foreign = {n for n in numbers if self._tools.directories.is_foreign(n)}
        for number in foreign:
            self._tools.backend.unwatch(number)
            self._tools.directories.forget(number)
        return foreign

    def record(self, batch: Batch, author: str) -> None:
        """Record looks, which must be newer than all that was recorded before.

        Args:
            batch: what was seen; widened.
            author: who did it.
        """
        if not batch:
            return
        now = self._clock.monotonic()
        seen = list(batch.values())
        if self._tools.vanished.recently():
            seen = [o._replace(doubted=True) for o in seen]
        recorded = self._tools.recorder.record(seen, author)
        self.aftermath(recorded)
        for number, _ in recorded.directories:
            self._tools.directories.forget(number)
            self._below.append(Scan(self._tools, number, self._settling.is_held))
        self.unmounted |= recorded.unmounted
        certain, uncertain = sort_gone(recorded.gone, batch)
        for gone in uncertain:
            self._held[gone.node.number] = _Held(gone, now)
        if certain:
            self._check()
            self._bury(certain, author)

    def _give_up_lost(self, now: float) -> None:
        """Forget hints about directories that are gone; scan for those that are not found."""
        for place, lost in list(self._lost.items()):
            if self._tools.tree.node(place.directory) is None:
                del self._lost[place]
            elif now - lost.since > self._patience_seconds:
                del self._lost[place]
                self.rescan_reason = "a directory was not where it was expected"

    def _step(self) -> Scan | None:
        if self._below:
            scan = self._below[-1]
            scan.step()
            if scan.walked:
                self._below.remove(scan)
                self._hold(scan.gone)
                self._search(scan.lost)
        elif self.scan is not None:
            if self.walking:
                self.scan.step()
            if self.scan.walked and not self._waits_for_others(self.scan):
                return self._end_scan(self.scan)
        return None

    def _waits_for_others(self, scan: Scan) -> bool:
        """Say whether to wait: what is missing here may have been moved to another root.

        The scan there takes it over, with its number, if it is not buried before.
        """
        if not scan.gone or not self._others_walk():
            return False
        now = self._clock.monotonic()
        if self._walked is None:
            self._walked = now
        return now - self._walked < OTHERS_SECONDS

    def _end_scan(self, scan: Scan) -> Scan:
        """Remove what is still missing now that all places were seen."""
        self._check()
        missing = self._still_missing(scan.gone)
        if missing:
            self._check()
            missing = self._withhold(missing, scan)
            self._bury(missing)
        else:
            self.withheld = Withheld()
        scan.counts.events += len(missing)
        self.unmounted = scan.unmounted
        self._made_good = self._losses_at_start
        self.scan = None
        self._search(scan.lost)
        return scan

    def _withhold(self, missing: list[Gone], scan: Scan) -> list[Gone]:
        """Return what to remove: nothing when it is too much to be believed without asking."""
        tools, percent = self._tools, 100.0 if scan.accept else self._tools.removal_percent
        self.withheld = withhold(tools.tree, self._root, missing, percent)
        return [] if self.withheld.missing else missing

    def _search(self, numbers: Iterable[int]) -> None:
        now = self._clock.monotonic()
        for number in numbers:
            self._unlisted.setdefault(number, now)

    def _find_unlisted(self, now: float) -> None:
        """List directories that were not where the tree said, as soon as they are again."""
        for number, since in list(self._unlisted.items()):
            try:
                found = self._tools.directories.fd(number) is not None
            except PermissionError:
                found = True  # and cannot be listed, which the scan will say
            if found:
                self._below.append(Scan(self._tools, number, self._settling.is_held))
            elif self._tools.directories.is_foreign(number):
                pass  # its new root lists it
            elif self._tools.tree.node(number) is not None:
                if now - since <= self._patience_seconds:
                    continue
                self.rescan_reason = "a directory was not where it was expected"
            del self._unlisted[number]

    def _hold(self, gone: Iterable[Gone]) -> None:
        now = self._clock.monotonic()
        for lost in gone:
            self._held[lost.node.number] = _Held(lost, now)

    def _bury_held(self, now: float) -> None:
        due = [
            held.gone
            for held in self._held.values()
            if now - held.since > (MOVE_MAX_SECONDS if self._below else MOVE_GRACE_SECONDS)
        ]
        if not due:
            return
        self._check()
        missing = self._still_missing(due)
        for gone in due:
            del self._held[gone.node.number]
        self._bury(missing)

    def _still_missing(self, gone: Iterable[Gone]) -> list[Gone]:
        """Look again at where nodes were, and record what is there after all."""
        batch: Batch = {}
        missing: list[Gone] = []
        for lost in gone:
            node = self._tools.tree.node(lost.node.number)
            before = lost.node.state
            place = Place(before.parent, before.name)
            if node is None or (node.state.parent, node.state.name) != place:
                continue
            try:
                fd = self._tools.directories.fd(place.directory)
                seen = None if fd is None else self._tools.looker.look(fd, place)
            except PermissionError:
                continue
            if seen is not None and seen.facts is None:
                missing.append(lost)
            elif seen is not None and not is_anothers(seen, self._settling, self._tools.tree):
                batch[place] = seen
        if batch:
            self._tools.widener.widen(batch)
            self.record(batch, DISK)
        return missing

    def _bury(self, gone: Iterable[Gone], author: str = DISK) -> None:
        self._buried(self._tools.recorder.remove_many(list(gone), author))

    def aftermath(self, recorded: Recorded) -> None:
        """Do what recording a batch makes necessary elsewhere."""
        self._buried(recorded.buried)
        self._left(recorded.left)

    def _buried(self, nodes: Iterable[Node]) -> None:
        """Forget nodes that were removed; other links of their files have changed with them."""
        now = self._clock.monotonic()
        for node in nodes:
            self._tools.backend.unwatch(node.number)
            self._tools.directories.forget(node.number)
            if node.state.nlink > 1 and node.state.fs:
                for link in self._tools.tree.by_file(node.state.fs, node.state.ino):
                    self._touch(Place(link.state.parent, link.state.name), now)

    def _left(self, places: Iterable[Place]) -> None:
        """Have places looked at again that nodes of other roots were moved away from.

        Two roots look independently, so the older look may have been recorded last: the node may
        be back where it was taken from, with all hints about that spent.
        """
        for place in places:
            if self._tools.directories.is_foreign(place.directory):
                self._tools.elsewhere(place)

    def _touch(self, place: Place, now: float) -> None:
        """Have a place looked at, by whose root it is."""
        if self._tools.directories.is_foreign(place.directory):
            self._tools.elsewhere(place)
        else:
            self._settling.note(place, Sign.ATTRIBUTES, now)
