"""What can go wrong with a log. Every message is one line that says what, where and what to do."""


class LogError(Exception):
    """Something is wrong with the log."""


class LogInUseError(LogError):
    """Another process has the log open for writing."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: another nasfeed is using this database; stop it, or give another --db"
        )


class LogMissingError(LogError):
    """There is no log where one was expected."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: no nasfeed database here; give the one to read with --db")


class LogFormatError(LogError):
    """The file is no log, or one of a format that this program does not know."""


class CorruptRecordError(LogError):
    """A stored record cannot be decoded."""

    def __init__(self, position: int, detail: str) -> None:
        super().__init__(f"position {position}: record cannot be decoded: {detail}")


class LogUnavailableError(LogError):
    """The log could not be written; nothing of the batch was kept. It may work later."""


class LogFullError(LogUnavailableError):
    """The disk of the log is full; nothing of the batch was kept."""


class LogClosedError(LogError):
    """The log is closed or has failed for good; nothing more can be appended."""
