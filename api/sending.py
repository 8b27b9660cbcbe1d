"""Sends an answer through ASGI."""

from api.answers import Answer
from api.asgi import Send


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer as ASGI messages."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.media.encode()),
                (b"content-length", b"%d" % len(answer.body)),
                *((name.encode(), value.encode()) for name, value in answer.headers),
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
