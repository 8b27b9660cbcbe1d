"""Small uploads, stored in groups: for all of a group the disk is asked once, and the log once.

What is large, or what may take long for another reason, is none of a group's business: all of the
group would wait for it.
"""

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final, NamedTuple

from api.beneath.opened import Opened
from api.beneath.syncing import SYNCER
from api.files.dates import SECOND_NS
from api.filetracker.intake import Claims, Intake
from api.filetracker.keep import ChangedError
from api.filetracker.reasons import told
from api.filetracker.store import Change, Staged, Store
from api.groups import Groups

BODY_MAX: Final = 2**16
"""Bytes of a body that is taken into a group."""

FILE_MAX: Final = 2**20
"""Bytes of a file that is."""

GROUP_MAX: Final = 32
"""Uploads of a group: what the observer of the root does without looking at anything else."""


class AloneError(Exception):
    """An upload that must be stored by itself; nothing was done."""


class Upload(NamedTuple):
    """An upload that was received whole.

    Attributes:
        change: what the client wants.
        claims: what it says of the body.
        body: as it came.
    """

    change: Change
    claims: Claims
    body: bytes

    @property
    def is_small(self) -> bool:
        """Whether it is quickly unpacked and written."""
        if self.claims.is_gzip and self.claims.size is None:
            return False
        return len(self.body) <= BODY_MAX and (self.claims.size or 0) <= FILE_MAX


class Together:
    """Stores small uploads.

    Args:
        store: where.
        executor: has threads for that.
        size_max: the largest file that is taken, bytes; None for any.
    """

    def __init__(self, store: Store, executor: Executor, size_max: int | None) -> None:
        self._store = store
        self._size_max = size_max
        self._groups = Groups(executor, self.put_all, fits)

    async def put(self, upload: Upload) -> int:
        """Store a file.

        Returns:
            The version that is there now.

        Raises:
            AloneError: it is none for a group.
            Refusal: it cannot be stored.
        """
        if not upload.is_small:
            raise AloneError
        return await self._groups.run(upload)

    def put_all(self, uploads: Sequence[Upload]) -> list[int | Exception]:
        """Store a group; not for the event loop's thread.

        Args:
            uploads: which fit together.

        Returns:
            For each the version that is there now, or what its client is told instead.
        """
        try:
            found = self._put_all(uploads)
        except Exception as error:  # noqa: BLE001 - handed to all who asked
            found = [error] * len(uploads)
        return [_told(upload, each) for upload, each in zip(uploads, found, strict=True)]

    def _put_all(self, uploads: Sequence[Upload]) -> list[int | Exception]:
        found: list[int | Exception] = []
        staged: dict[int, Staged] = {}
        beneath = self._store.beneath
        with contextlib.ExitStack() as files, beneath.pinned(), Opened(beneath) as opened:
            for number, upload in enumerate(uploads):
                try:
                    staged[number] = self._stage(upload, opened, files)
                    found.append(upload.change.version)
                except Exception as error:  # noqa: BLE001 - handed to whoever asked
                    found.append(error)
            self._sync(staged, found)
            for number, each in zip(staged, self._place(list(staged.values())), strict=True):
                found[number] = each
        return found

    def _stage(self, upload: Upload, opened: Opened, files: contextlib.ExitStack) -> Staged:
        """Write a file aside."""
        change, claims, body = upload
        size = claims.size or len(body)
        new = files.enter_context(self._store.begin(change, size, opened))
        if not self._store.keeper.is_ready(new.before):
            raise AloneError
        intake = Intake(new.fd, claims, self._size_max)
        intake.feed(body)
        staged = Staged(change, new, intake.finish())
        staged.mark()
        new.end(change.version * SECOND_NS)
        return staged

    def _sync(self, staged: dict[int, Staged], found: list[int | Exception]) -> None:
        """Have what was written on the disk; what is not is out."""
        errors = SYNCER.sync([each.new.fd for each in staged.values()])
        for number, error in zip(list(staged), errors, strict=True):
            if error is None:
                staged[number].new.synced()
            else:
                found[number] = error
                del staged[number]

    def _place(self, staged: Sequence[Staged]) -> Sequence[int | Exception]:
        try:
            return self._store.place(staged) if staged else ()
        except Exception as error:  # noqa: BLE001 - handed to all who asked
            return [error] * len(staged)


def fits(group: Sequence[Upload], upload: Upload) -> bool:
    """Say whether an upload can be stored with others: the log has one author for all of them."""
    if len(group) >= GROUP_MAX:
        return False
    change = upload.change
    return all(
        each.change.author == change.author and not _overlap(each.change.path, change.path)
        for each in group
    )


def _overlap(one: bytes, other: bytes) -> bool:
    return one == other or one.startswith(other + b"/") or other.startswith(one + b"/")


def _told(upload: Upload, found: int | Exception) -> int | Exception:
    """Return what a client is told."""
    if isinstance(found, ChangedError):  # somebody wrote to what is there just now
        return AloneError()
    return told(upload.change.path, found) if isinstance(found, Exception) else found
