"""Uploads of a household: begun, cut, gone on with, by the old way and by tus."""

import base64
import contextlib
import hashlib
import http.client
import random
from collections.abc import Callable
from typing import Any, Literal

from tests.api.library.family import Person, Reply
from tests.convergence.disk import Entry
from tests.serving import DEADLINE_SECONDS, wait_until

Ask = Callable[[Callable[[], Reply]], Reply | None]
"""Makes a request; returns None when the server was killed instead of answering."""

Result = Literal["done", "open", "refused", "unknown"]
"""What came of a request: a file; more of it; nothing; or it cannot be known."""

BUSY = 409

TUS: dict[str, Any] = {"Tus_Resumable": "1.0.0"}

CHUNKED: dict[str, Any] = TUS | {"Content_Type": "application/offset+octet-stream"}


class SendingError(AssertionError):
    """An upload is not what it was acknowledged to be."""


class ProgressLostError(SendingError):
    """Less of an upload is there than was acknowledged."""


class Sending:
    """An upload.

    Args:
        directory: absolute path of where it is to be.
        name: as it is to be shown.
        ending: of the name of the file.
        data: of the file.
        time: of its last change, seconds since 1970.
        by_tus: whether it is made by tus, which tells no time.

    Attributes:
        number: of the upload; 0 as long as it is not begun.
        catalog: number of the directory.
        may_be_whole: whether all of it may have come, though nobody said so. It may become a file
            by itself, whenever its catalog is there.
    """

    def __init__(
        self, directory: bytes, name: str, ending: str, data: bytes, time: int, *, by_tus: bool
    ) -> None:
        self.directory = directory
        self.data = data
        self.number = 0
        self.catalog = 0
        self.may_be_whole = not data
        self.mtime_us = None if by_tus else time * 1_000_000
        self._name = name
        self._ending = ending
        self._time = time
        self._by_tus = by_tus
        self._acknowledged = 0

    def __repr__(self) -> str:
        way = "tus" if self._by_tus else "old"
        return f"upload {self.number} ({way}) of {len(self.data)} bytes into {self.directory!r}"

    @property
    def file_name(self) -> bytes:
        """What the file is called, if that is free."""
        return f"{self._name}.{self._ending}".encode()

    def entry(self, mtime_us: int) -> Entry:
        """Return what must come of it, if that was changed at some time as far as it is told."""
        digest = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        return Entry("file", len(self.data), self.mtime_us or mtime_us, digest)

    # Begin.

    def announce(self, person: Person, catalog: int) -> Reply:
        """Begin it; see `take`."""
        self.catalog = catalog
        if self._by_tus:
            name = base64.b64encode(self.file_name).decode()
            told = f"filename {name},catalogId {base64.b64encode(str(catalog).encode()).decode()}"
            fields = TUS | {"Upload_Length": str(len(self.data)), "Upload_Metadata": told}
            return person.ask("POST", "/uploads", **fields)
        return person.post(
            "uploadFileInfo",
            cid=catalog,
            name=self._name,
            ext=self._ending,
            size=len(self.data),
            type=16,
            lastModifyTime=self._time,
        )

    def take(self, reply: Reply) -> bool:
        """Take the answer to its announcement; return whether it is begun."""
        if self._by_tus:
            if reply.status == 201:
                self.number = int(reply.fields["location"].rpartition("/")[2])
        elif reply.code == 0:
            self.number = reply.data["id"]
        return self.number > 0

    # Go on.

    def forget_progress(self) -> None:
        """Expect it at any position from now on."""
        self._acknowledged = 0

    def position(self, person: Person, ask: Ask) -> int | Result:
        """Return where to go on, or why it is not to be gone on with."""
        if self._by_tus:
            reply = ask(lambda: person.ask("HEAD", f"/uploads/{self.number}", **TUS))
            if reply is None:
                return "unknown"
            return int(reply.fields["upload-offset"]) if reply.status == 200 else "refused"
        reply = ask(lambda: person.get("uploadingInfo"))
        if reply is None:
            return "unknown"
        sizes = {each["id"]: int(each["uploadingOriginSize"]) for each in reply.data}
        return sizes.get(self.number, "refused")

    def send_cut(self, person: Person, dice: random.Random) -> None:
        """Send some of it and hang up in the middle."""
        begin = self.position(person, lambda ask: ask())
        if isinstance(begin, str) or len(self.data) - begin < 2:
            return
        method, target, body, fields = self._request(begin, self.data[begin:], "")
        connection = http.client.HTTPConnection("127.0.0.1", person.port, timeout=DEADLINE_SECONDS)
        with contextlib.closing(connection):
            connection.putrequest(method, target)
            for name, value in (fields | {"Cookie": person.cookie}).items():
                connection.putheader(name.replace("_", "-"), value)
            connection.putheader("Content-Length", str(len(body)))
            start = body.index(self.data[begin:])
            connection.endheaders(body[: start + dice.randrange(1, len(self.data) - begin)])
        self._acknowledged = 0  # what it goes on behind may be dropped

    def send(self, person: Person, ask: Ask, dice: random.Random, *, everything: bool) -> Result:
        """Send more of it.

        Args:
            person: whose it is.
            ask: makes the deciding request.
            dice: of what is left to chance.
            everything: all that is missing; else only some of it.

        Raises:
            SendingError: something that was acknowledged is gone, or a digest is another one.
        """
        result: Result = "unknown"

        def answered() -> bool:
            nonlocal result
            found = self._send_once(person, ask, dice, everything=everything)
            result = found or result
            return found is not None

        wait_until(answered, f"{self} can be gone on with")
        return result

    def _send_once(
        self, person: Person, ask: Ask, dice: random.Random, *, everything: bool
    ) -> Result | None:
        """Send more; None: the server is still busy with what was cut before."""
        begin = self.position(person, ask)
        if isinstance(begin, str):
            return begin
        if not self._acknowledged <= begin <= len(self.data):
            raise ProgressLostError(f"{self} is at {begin}, after {self._acknowledged}")
        self.may_be_whole = begin == len(self.data)
        if not self._by_tus and dice.random() < 0.2:
            begin = dice.randint(0, begin)  # some of it was sent wrongly, as it seems
        end = len(self.data) if everything else dice.randint(begin, len(self.data))
        self.may_be_whole |= end == len(self.data)
        kind = dice.choice(["sha1", "md5", ""])
        method, target, body, fields = self._request(begin, self.data[begin:end], kind)
        reply = ask(lambda: person.ask(method, target, body, **fields))
        if reply is None:
            self._acknowledged = 0
            return "unknown"
        return None if reply.status == BUSY else self._result(reply, end)

    def _result(self, reply: Reply, end: int) -> Result:
        if self._by_tus:
            if reply.status != 204:
                return "refused"
            at = int(reply.fields["upload-offset"])
        else:
            if reply.code != 0:
                return "refused"
            info, check = reply.data["fileInfo"], reply.data.get("check")
            at = info.get("uploadingOriginSize", len(self.data))
            self._check(check, end)
        if at != end:
            raise SendingError(f"{self} is at {at}, not {end}")
        self._acknowledged = at
        return "done" if at == len(self.data) else "open"

    def _check(self, check: dict[str, str] | None, end: int) -> None:
        right = {
            kind(self.data[:end], usedforsecurity=False).hexdigest()
            for kind in (hashlib.sha1, hashlib.md5)
        }
        if check is not None and check["origin"] not in right:
            raise SendingError(f"{self}: the digest is {check}")

    def _request(
        self, begin: int, data: bytes, digest: str
    ) -> tuple[str, str, bytes, dict[str, Any]]:
        if self._by_tus:
            fields = CHUNKED | {"Upload_Offset": str(begin)}
            if digest:
                summed = base64.b64encode(hashlib.new(digest, data).digest()).decode()
                fields["Upload_Checksum"] = f"{digest} {summed}"
            return "PATCH", f"/uploads/{self.number}", data, fields
        head = b'--b\r\nContent-Disposition: form-data; name="x"; filename="origin"\r\n\r\n'
        target = f"/uploadFile.icc?id={self.number}&obp={begin}" + (digest and f"&cm={digest}")
        fields = {"Content_Type": "multipart/form-data; boundary=b"}
        return "POST", target, head + data + b"\r\n--b--\r\n", fields
