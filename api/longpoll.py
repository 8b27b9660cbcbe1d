"""Long poll: a request for changes that is answered when there are some."""

import asyncio
from collections.abc import Awaitable, Callable

from api.asgi import Receive
from api.pages import Reading
from api.query import ChangesQuery
from api.sleepers import Sleepers, until_left

ReadPage = Callable[[ChangesQuery], Awaitable[Reading]]


async def poll(
    asked: ChangesQuery,
    page: Reading,
    read: ReadPage,
    sleepers: Sleepers,
    receive: Receive | None = None,
) -> Reading:
    """Wait until a page has changes, its client is gone, or the time is over.

    A page without changes may still move the cursor. The last one is answered, so that nothing is
    looked at twice.

    Args:
        asked: what the client wants; the time runs from now.
        page: the empty page that was just read.
        read: reads a page.
        sleepers: has room for this one.
        receive: of the request; tells when its client is gone.
    """
    left = None if receive is None else asyncio.ensure_future(until_left(receive))
    until = asyncio.get_running_loop().time() + asked.wait
    try:
        while page.is_empty and page.cursor is not None:
            asked = asked._replace(cursor=page.cursor, since=page.since)
            rest = until - asyncio.get_running_loop().time()
            if not page.has_more:
                await sleepers.sleep(asked.cursor, rest, left)
            elif rest <= 0:
                break
            if sleepers.is_stopping or (left is not None and left.done()):
                break
            page = await read(asked)
            if rest <= 0:
                break
    finally:
        if left is not None:
            left.cancel()
    return page
