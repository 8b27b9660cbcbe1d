"""Descriptions of the parameters that are read from the raw request."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema

from api.query import CURSOR_MAX, PAGE_DEFAULT, PAGE_MAX, WAIT_MAX
from api.stream import EVENT_PAGE
from projections.filter import KINDS

_CURSOR = Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=CURSOR_MAX, default=0)
_TEXT = Schema(type=OpenAPIType.STRING)


def _max_size(default: int) -> Parameter:
    return Parameter(
        "max_size",
        "query",
        # A wish, so no value is an error; a schema with bounds would not be true.
        Schema(type=OpenAPIType.STRING, default=str(default)),
        description=(
            f"The most changes in the answer, 1 to {PAGE_MAX}. More gives {PAGE_MAX};"
            f" what is no positive integer gives {default}."
        ),
    )


def _filters() -> list[Parameter]:
    """Describe what narrows an answer to some nodes; a node must satisfy all that is given."""
    texts = Schema(type=OpenAPIType.ARRAY, items=_TEXT)
    kinds = Schema(type=OpenAPIType.ARRAY, items=Schema(enum=list(KINDS.values())))
    told = {
        "root": (_TEXT, "Only what is in the root with this name."),
        "under": (_TEXT, "Only the node with this id, and what is below it."),
        "mime": (texts, "Only what has a MIME type that begins so; of several, with any."),
        "kind": (kinds, "Only nodes of this kind; of several, of any."),
    }
    return [
        Parameter(name, "query", schema, description=description)
        for name, (schema, description) in told.items()
    ]


def _common() -> list[Parameter]:
    return [
        *_filters(),
        Parameter(
            "since",
            "query",
            _CURSOR,
            description="With a filter: what came with the cursor, so that less need be told.",
        ),
        Parameter(
            "cursor",
            "query",
            _CURSOR,
            description="Position after which changes are wanted, from an earlier answer.",
        ),
        Parameter(
            "log_id",
            "query",
            _TEXT,
            description="Epoch that the cursor is of; another one than the log's gives 410.",
        ),
        Parameter("X-Log-Id", "header", _TEXT, description="The same as the parameter `log_id`."),
    ]


@dataclass
class CursorOperation(Operation):
    """Describes the parameters of the cursor, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        self.parameters = [
            Parameter(
                "at",
                "query",
                _TEXT,
                description=(
                    "A time of RFC 3339: the last position strictly before it is answered."
                    " Nothing since then is missed from there on; something may come again."
                ),
            ),
            Parameter(
                "sync",
                "query",
                Schema(type=OpenAPIType.NUMBER, exclusive_minimum=0, maximum=WAIT_MAX),
                description=(
                    "Wait at most so many seconds until all that was done on the disks before this"
                    " request is in the feed, but for hashes and what else is read from contents."
                ),
            ),
        ]


@dataclass
class ChangesOperation(Operation):
    """Describes the parameters of changes."""

    def __post_init__(self) -> None:
        """Add the parameters: the framework's own checks are laxer than the feed's."""
        self.parameters = [
            *_common(),
            _max_size(PAGE_DEFAULT),
            Parameter(
                "wait",
                "query",
                Schema(type=OpenAPIType.NUMBER, minimum=0, maximum=WAIT_MAX, default=0),
                description=(
                    "Seconds to wait for a change when there is none yet; then an empty page comes."
                ),
            ),
        ]


@dataclass
class StreamOperation(Operation):
    """Describes the parameters of a stream."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        self.parameters = [
            *_common(),
            _max_size(EVENT_PAGE),
            Parameter(
                "Last-Event-ID",
                "header",
                _CURSOR,
                description="The cursor once more, as browsers send it; it wins.",
            ),
        ]


@dataclass
class SnapshotOperation(Operation):
    """Describes the parameters of a snapshot."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        self.parameters = [*_filters()]
