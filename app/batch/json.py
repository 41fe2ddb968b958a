"""JSON that Postgres can hold: decoded within limits, repaired where that costs nothing."""

import json
import re
import sys
from typing import Any, NoReturn

import orjson

DEPTH_LIMIT = 1_000

_BOM = b"\xef\xbb\xbf"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# The standard library's parser and encoder count their own nesting against this limit; DEPTH_LIMIT
# has to fit beneath it along with the stack of the server and of Flask.
sys.setrecursionlimit(max(sys.getrecursionlimit(), DEPTH_LIMIT * 5))


class MalformedJson(ValueError):
    """The text is not JSON; says why."""


def parse_json(text: bytes) -> Any:
    """The value of UTF-8 text. MalformedJson. What Postgres cannot hold is U+FFFD in the result."""
    text = text.removeprefix(_BOM)
    try:
        value = orjson.loads(text)
        damaged = b"\\u0000" in text
    except orjson.JSONDecodeError as error:
        # orjson refuses a whole document for one half of a surrogate pair; nothing else that it
        # refuses is JSON.
        if b"\\u" not in text:
            raise MalformedJson(error.msg) from None
        value = _parse_leniently(text)
        damaged = True
    if text.count(b"[") + text.count(b"{") > DEPTH_LIMIT and depth_of(value) > DEPTH_LIMIT:
        raise MalformedJson(f"nested deeper than {DEPTH_LIMIT} levels")
    return _repair(value) if damaged else value


def dump_json(value: Any, *, indented: bool = False) -> bytes:
    """UTF-8 JSON, compact or for people, of a value as it was decoded, however deep; of times,
    UUIDs and dataclasses too."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2) if indented else orjson.dumps(value)
    except TypeError:  # orjson ends at 254 levels
        return json.dumps(
            value,
            ensure_ascii=False,
            separators=(", ", ": ") if indented else (",", ":"),
            indent=2 if indented else None,
            default=lambda part: orjson.loads(orjson.dumps(part)),
        ).encode()


def depth_of(value: Any) -> int:
    """Levels of objects and arrays: 0 for a plain value, 1 for {} and {"a": 1}."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            child for item in level for child in (item.values() if type(item) is dict else item)
        ]
    return depth


def mend(value: Any) -> Any:
    """A text without what Postgres cannot store; any other value as it is."""
    return _UNSTORABLE.sub("\ufffd", value) if type(value) is str else value


def _parse_leniently(text: bytes) -> Any:
    try:
        return json.loads(text.decode(), parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise MalformedJson("nested too deep") from None
    except UnicodeDecodeError:
        raise MalformedJson("it is not UTF-8") from None
    except ValueError as error:
        raise MalformedJson(getattr(error, "msg", str(error))) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return number


def _int(digits: str) -> int | float:
    """As orjson and JavaScript read it: beyond 64 bits an integer is a double."""
    number = int(digits) if len(digits) <= 20 else _float(digits)
    return number if -(2**63) <= number < 2**64 else _float(digits)


def _repair(root: Any) -> Any:
    """Replace what Postgres cannot store, in keys and in values, without recursion."""
    holder = [root]
    todo: list[Any] = [holder]
    while todo:
        container = todo.pop()
        if type(container) is dict:
            items = [(mend(key), mend(child)) for key, child in container.items()]
            container.clear()
            container.update(items)
            children: Any = container.values()
        else:
            container[:] = [mend(child) for child in container]
            children = container
        todo.extend(child for child in children if isinstance(child, dict | list))
    return holder[0]
