"""Posts a body to a URL and says what came of it. Imported only where there are webhooks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx

from tools.text import printable
from tools.webhooks import Answer, NotPostedError, Post

TIMEOUT_SECONDS: Final = 15.0
"""From connecting to the head of the answer; the body of an answer is not read."""


@contextlib.asynccontextmanager
async def posting(timeout_seconds: float = TIMEOUT_SECONDS) -> AsyncIterator[Post]:
    """Give what posts, over connections that are kept open for a while.

    Redirects are not followed: a receiver that has moved is one that does not take messages.

    Args:
        timeout_seconds: for each post.
    """
    # The environment's proxies and passwords are not for this: all settings are in one file.
    async with httpx.AsyncClient(timeout=timeout_seconds, trust_env=False) as client:

        async def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            try:
                async with (
                    asyncio.timeout(timeout_seconds),
                    client.stream("POST", url, content=body, headers=headers) as answer,
                ):
                    return Answer(answer.status_code, answer.headers.get("retry-after", ""))
            except TimeoutError as error:
                raise NotPostedError(f"no answer within {timeout_seconds:g} seconds") from error
            except (httpx.HTTPError, OSError) as error:
                raise NotPostedError(printable(str(error)) or type(error).__name__) from error

        yield post
