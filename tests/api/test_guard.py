"""Who may ask, and under which name."""

import asyncio

import pytest

from api.answers import Answer
from api.app import Access
from api.asgi import Headers, Message, Receive, Scope, Send
from api.guard import REMEMBERED_MAX, Guard, machine_names
from tests.api.support import LOG_ID, MemoryLog, make_app, serving

SECRET = "s3cret"  # noqa: S105 - of a test


class _Open:
    log_id = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError((scope, receive, send))

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        return Answer(b"%b?%b %d" % (path, query, len(headers)))

    def stop(self) -> None:
        pass


def refusal(host: bytes, *names: str) -> int:
    answer = Guard(_Open(), names).check([(b"host", host)])
    return answer.status if answer else 0


@pytest.mark.parametrize(
    "host",
    [
        b"127.0.0.1", b"127.0.0.1:8080", b"192.168.1.20:80", b"[::1]:8080", b"[fe80::1]",
        b"localhost", b"LOCALHOST:8080", b"localhost.", b"a.localhost", b"nas", b"NAS:8080",
        b"nas.", b"nas.example.org",
    ],
)  # fmt: skip
def test_the_servers_own_names_pass(host: bytes) -> None:
    assert refusal(host, "nas", "Nas.Example.org.") == 0


@pytest.mark.parametrize(
    "host",
    [
        b"", b"evil.example", b"127.0.0.1.evil.example", b"nas.evil.example", b"xnas", b"nasx",
        b"localhost.evil", b"evil@127.0.0.1", b"127.0.0.1:80:80", b"[::1", b"::1", b"[127.0.0.1]",
        b"[evil.example]", b"127.1", b"0x7f000001", b"2130706433", b"127.0.0.1, evil.example",
        b"127.0.0.1 evil.example", b"nas\x00", b"\xff", b"nas/", b"nas#", b"localhost:port",
    ],
)  # fmt: skip
def test_another_name_is_misdirected(host: bytes) -> None:
    assert refusal(host, "nas") == 421


def test_the_machine_knows_its_own_names() -> None:
    names = machine_names()
    assert any(name.endswith(".local") for name in names)
    assert all(name == name.lower() for name in names)


def test_accepted_names_are_remembered_within_bounds() -> None:
    guard = Guard(_Open(), ())
    for number in range(REMEMBERED_MAX + 50):
        host = b"10.0.%d.%d:%d" % (number // 256, number % 256, number)
        assert guard.check([(b"host", host)]) is None
    assert len(guard._accepted) <= REMEMBERED_MAX
    assert guard.check([(b"host", b"evil.example")]) is not None


def test_a_request_of_http_1_0_needs_no_host() -> None:
    assert Guard(_Open(), ()).check([]) is None


@pytest.mark.parametrize("value", [b"Bearer secret", b"bearer secret", b"Bearer  secret "])
def test_the_token_opens(value: bytes) -> None:
    assert Guard(_Open(), (), "secret").check([(b"authorization", value)]) is None


@pytest.mark.parametrize(
    "value",
    [b"", b"Bearer", b"Bearer ", b"Bearer secre", b"Bearer secrets", b"Bearer SECRET",
     b"Basic secret", b"secret", b"Bearer secret secret", b"Bearer\tsecret"],
)  # fmt: skip
def test_without_the_token_nothing_is_told(value: bytes) -> None:
    answer = Guard(_Open(), (), "secret").quick(b"/", b"", [(b"authorization", value)])
    assert answer is not None
    assert (answer.status, dict(answer.headers)["www-authenticate"]) == (
        401, 'Bearer realm="nasfeed"'
    )  # fmt: skip


def test_a_good_request_is_answered_at_once() -> None:
    answer = Guard(_Open(), ()).quick(b"/p", b"q", [(b"host", b"localhost")])
    assert answer == Answer(b"/p?q 1")


@pytest.mark.parametrize(
    "path",
    ["/api/v1/cursor", "/api/v1/changes?cursor=0", "/api/v1/status", "/schema/openapi.json", "/x"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_guard_stands_before_everything(path: str, method: str) -> None:
    access = Access(host_names=("nas.home",), token=SECRET)
    token = f"Bearer {SECRET}"
    with serving(make_app(MemoryLog(), access=access)) as server:
        for asked, headers in (
            (421, {"Host": "evil.example", "Authorization": token}),
            (401, {"Host": "nas.home"}),
        ):
            answer = server.ask(path, method, **headers)
            assert answer.status == asked
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert (answer.body == b"") is (method == "HEAD")
            assert method == "HEAD" or answer.json["log_id"] == LOG_ID
        passed = server.ask(path, method, Host="nas.home", Authorization=token)
        assert passed.status in {200, 404, 405}


def test_a_host_name_may_be_configured() -> None:
    with serving(make_app(MemoryLog(), access=Access(host_names=("nas.home",)))) as server:
        assert server.ask("/api/v1/cursor", Host="nas.home:8080").status == 200
        assert server.ask("/api/v1/cursor", Host="nas.away:8080").status == 421


class _Streaming(_Open):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        assert (await receive())["type"] == "http.disconnect"  # so that nothing is waited for
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b"):
            await send({"type": "http.response.body", "body": part, "more_body": part == b"a"})


def test_head_ends_once_however_many_parts_the_body_has() -> None:
    sent = []

    async def send(message: Message) -> None:
        sent.append((message["type"], message.get("body"), message.get("more_body")))

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "HEAD", "headers": []}
    asyncio.run(Guard(_Streaming(), ())(scope, receive, send))
    assert sent == [
        ("http.response.start", None, None),
        ("http.response.body", b"", False),
    ]
    assert scope["method"] == "HEAD"
