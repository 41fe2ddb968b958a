"""JSON as it is written, whichever of the two writers has to."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from uuid import UUID

import pytest

from app.batch.json import MalformedJson, depth_of, dump_json, mend, parse_json


def nested(levels):
    value = "the end"
    for _ in range(levels):
        value = {"a": value}
    return value


@dataclasses.dataclass
class Part:
    at: datetime


PARTS = [{"é": 1}, Part(datetime(2024, 1, 2, tzinfo=UTC)), UUID(int=5)]


def test_deep_values_are_written_as_flat_ones_are():
    flat = dump_json(PARTS)
    assert (
        flat
        == (
            '[{"é":1},{"at":"2024-01-02T00:00:00+00:00"},"00000000-0000-0000-0000-000000000005"]'
        ).encode()
    )
    assert dump_json([*PARTS, nested(300)]).startswith(flat[:-1] + b',{"a":{"a":')


def test_for_people_each_part_has_a_line_however_deep_it_is():
    flat = dump_json({"a": [1, 2]}, indented=True)
    assert flat == b'{\n  "a": [\n    1,\n    2\n  ]\n}'
    deep = dump_json({"a": [1, 2], "b": nested(300)}, indented=True)
    lines = deep.split(b"\n")
    assert [line.rstrip() for line in lines[:5]] == [*flat.split(b"\n")[:4], b"  ],"]
    assert lines[5] == b'  "b": {'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775808", -(2**63)),
        (b"-9223372036854775809", -(2.0**63)),
        (b"123456789012345678901234567890", 123456789012345678901234567890.0),
    ],
)
def test_both_readers_read_a_number_alike(text, value):
    for around in (b'[%b, "x"]', rb'[%b, "\ud800"]'):  # half an emoji is for the second reader
        read = parse_json(around % text)[0]
        assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", [b"1e999", b"-1e999", b"NaN", b"Infinity", b"-Infinity"])
def test_both_refuse_what_is_no_number(text):
    for around in (b'[%b, "x"]', rb'[%b, "\ud800"]'):
        with pytest.raises(MalformedJson):
            parse_json(around % text)


def test_only_texts_are_mended():
    assert [mend(value) for value in ("a\0\ud800b", 1, None, b"\0")] == ["a\ufffd\ufffdb", 1, None,
                                                                         b"\0"]  # fmt: skip


def test_levels_are_those_of_objects_and_arrays():
    values = (1, {}, [], {"a": 1}, {"a": [1, {}]}, [[], [[]]])
    assert [depth_of(value) for value in values] == [0, 1, 1, 1, 3, 3]


def test_what_is_written_for_people_is_read_again():
    assert json.loads(dump_json(nested(300), indented=True)) == nested(300)


@pytest.mark.parametrize(
    "text",
    ["\\ud800", "\\u0000", "a\\ud83d\\u0000b", "\\udfff\\ud800"],
)
def test_what_postgres_cannot_hold_is_mended_wherever_it_stands(text):
    mended = "".join("\ufffd" if "\\u" in part else part for part in re.split(r"(\\u....)", text))
    raw = f'{{"{text}": ["{text}", {{"a": {{"{text}": "{text}"}}}}]}}'.encode()
    assert parse_json(raw) == {mended: [mended, {"a": {mended: mended}}]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"), (b"{", None), (b"[1,]", None), (b'"\\ud800', None),
        (b'["\\ud800", NaN]', "NaN is not"),
        (b'["\\ud800", 1e999]', "out of range"), (b'["\\ud800", "\xff"]', "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_json_says_why(text, words):
    with pytest.raises(MalformedJson, match=words):
        parse_json(text)


@pytest.mark.parametrize("half", ["", '"\\ud800",'])
@pytest.mark.parametrize("open_", ["[", '{"a":'])
def test_a_thousand_levels_are_read_and_one_more_is_not(half, open_):
    close = "]" if open_ == "[" else "}"

    def nested(levels):
        inner = f"[{half}1]"
        return (open_ * (levels - 1) + inner + close * (levels - 1)).encode()

    assert depth_of(parse_json(nested(1_000))) == 1_000
    with pytest.raises(MalformedJson, match="nested"):
        parse_json(nested(1_001))


def test_many_brackets_side_by_side_are_not_deep():
    assert len(parse_json(b"[" + b"[]," * 2_000 + b"[]]")) == 2_001
