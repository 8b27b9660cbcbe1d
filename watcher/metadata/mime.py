"""MIME types, as `file --mime-type` says them."""

from importlib import import_module
from types import ModuleType

EMPTY = "inode/x-empty"
"""What `file --mime-type` says of an empty file. The library, given only bytes, says otherwise."""


class MimeError(Exception):
    """libmagic gave no answer; the message says why."""


class NoLibraryError(Exception):
    """There is no usable libmagic; the message says what to do."""


class MimeTypes:
    """Asks libmagic: the system's, else the one packaged for Python.

    Raises:
        NoLibraryError: neither works.
    """

    def __init__(self) -> None:
        try:
            self._module = _load()
            self._library = self._module.Magic(mime=True)
        except Exception as error:  # its exceptions have no base of their own
            raise NoLibraryError(
                f"libmagic cannot be used ({error}); install it (Debian: libmagic1)"
            ) from error

    def of(self, fd: int) -> str:
        """Return the MIME type of a file.

        libmagic gets the descriptor and not the first bytes: it reads program headers, the
        sectors of old Office files and the ends of files from where it likes, so that only then
        its answer is that of `file`. It costs no more.

        Args:
            fd: of a regular file that is not empty; its offset is 0, and is so afterwards.

        Raises:
            MimeError: libmagic failed.
        """
        try:
            return str(self._library.from_descriptor(fd))
        except self._module.MagicException as error:
            raise MimeError(f"libmagic: {error}") from error


def _load() -> ModuleType:
    try:
        return import_module("magic")
    except ImportError:
        import_module("pylibmagic")  # makes the next import find its own library
        return import_module("magic")
