"""The envelope of every answer, and the codes of iSyncServer with their words."""

import json
from typing import Any, Final

OK: Final = 0
DELETE_FAILED: Final = -103
WRONG_PASSWORD: Final = -10000
NOT_LOGGED_IN: Final = -10001
NO_RIGHT: Final = -10002
BAD_PARAMETER: Final = -10003
NOT_FOUND: Final = -10004
WRONG_TYPE: Final = -10005
BAD_CATALOG: Final = -10007
NO_THUMBNAIL: Final = -10008
UPLOAD_AWAITED: Final = -10009
NOT_CHANGED: Final = -10010
DATABASE: Final = -102

_MESSAGES: Final = {
    -100: "服务端必须设置根目录",
    -101: "服务器对数据格式时出错",
    -102: "数据库有错误",
    -103: "删除操作失败",
    -10000: "用户名或密码错误",
    -10001: "你需要登录后才能访问内容",
    -10002: "无访问权限",
    -10003: "参数不正确",
    -10004: "找不到指定资源",
    -10005: "文件类型无法执行此操作",
    -10006: "指定资源已经被删除",
    -10007: "无效的目录Id",
    -10008: "无法生成缩略图",
    -10009: "等待上传",
    -10010: "数据没有被修改",
}
"""As the original has them: its client may show them."""

Json = dict[str, Any]

JSON_TYPE: Final = "application/json"


class LibraryError(Exception):
    """An answer with a code other than 0.

    Args:
        code: see above.
        status: of HTTP, for those few answers that are no 200.
        fields: of the header.
    """

    def __init__(
        self, code: int, status: int = 200, fields: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message(code))
        self.code = code
        self.status = status
        self.fields = fields


def message(code: int) -> str:
    """Return the words for a code."""
    return _MESSAGES.get(code, f"未定义错误信息内容: {code}")


def success(data: object, more: Json | None = None) -> bytes:
    """Return the answer that all went well.

    Args:
        data: for the client; None: nothing.
        more: what stands beside it.
    """
    return _encode({"code": OK, "data": data, **(more or {})})


def failure(code: int) -> bytes:
    """Return the answer that something is wrong."""
    return _encode({"code": code, "msg": message(code)})


def _encode(value: object) -> bytes:
    """Return JSON in ASCII, as Flask's; what is None is left out, everywhere."""
    return json.dumps(_without_nothing(value), separators=(",", ":")).encode()


def _without_nothing(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without_nothing(each) for k, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nothing(each) for each in value]
    return value
