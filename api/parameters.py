"""Descriptions of the parameters that are read from the raw request."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema

from api.query import CURSOR_MAX, PAGE_DEFAULT, PAGE_MAX, WAIT_MAX
from api.stream import EVENT_PAGE

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


def _common() -> list[Parameter]:
    return [
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
            )
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
