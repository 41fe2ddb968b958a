import contextlib
import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.batch.json import DEPTH_LIMIT, depth_of, dump_json
from app.replies import Refusal
from app.tracking.body import BODY_LIMIT, WIRE_LIMIT, decode_body

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def refused(raw, encoding=""):
    with pytest.raises(Refusal) as caught:
        decode_body(raw, encoding)
    return caught.value.status, caught.value.code


def repaired(value):
    if isinstance(value, str):
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, list):
        return [repaired(item) for item in value]
    if isinstance(value, dict):
        return {repaired(key): repaired(item) for key, item in value.items()}
    return value


@given(documents)
def test_json_is_decoded_and_repaired_whatever_its_escapes(document):
    assert decode_body(json.dumps(document).encode(), "") == repaired(document)


@given(st.text(st.characters(categories=["Cs", "L", "Cc"]), max_size=10))
def test_halves_of_an_emoji_and_nul_are_replaced_in_keys_and_values(text):
    document = json.loads(json.dumps({text: [text]}))
    assert decode_body(json.dumps({text: [text]}).encode(), "") == repaired(document)


@given(st.binary(max_size=200), st.sampled_from(["", "gzip"]))
def test_any_bytes_are_a_value_or_a_refusal(raw, encoding):
    with contextlib.suppress(Refusal):
        decode_body(raw, encoding)


def test_the_six_characters_of_an_escaped_escape_survive():
    assert decode_body(rb'{"a\\u0000":"\\u0000 \\ud83d"}', "") == {r"a\u0000": r"\u0000 \ud83d"}
    assert decode_body(rb'["\\u0000","\u0000","\ud83d"]', "") == [r"\u0000", "\ufffd", "\ufffd"]


def test_a_whole_emoji_survives_beside_a_half_one():
    assert decode_body(rb'["\ud83d\ude00","\ude00"]', "") == ["\U0001f600", "\ufffd"]


def test_a_byte_order_mark_is_skipped():
    assert decode_body(b"\xef\xbb\xbf{}", "") == {}


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_gzip_is_unpacked(encoding):
    assert decode_body(gzip.compress(b'{"a":1}'), encoding) == {"a": 1}


def test_gzip_in_several_members_is_unpacked():
    assert decode_body(gzip.compress(b'{"a":') + gzip.compress(b"1}"), "gzip") == {"a": 1}


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "nonsense"])
def test_another_encoding_is_refused(encoding):
    assert refused(b"{}", encoding) == (415, "UNSUPPORTED_ENCODING")


def test_a_body_over_the_wire_limit_is_too_large():
    assert decode_body(b'"' + b"a" * (WIRE_LIMIT - 2) + b'"', "")
    assert refused(b'"' + b"a" * (WIRE_LIMIT - 1) + b'"') == (413, "PAYLOAD_TOO_LARGE")


def test_a_body_over_the_unpacked_limit_is_too_large():
    assert decode_body(gzip.compress(b'"' + b"a" * (BODY_LIMIT - 2) + b'"'), "gzip")
    assert refused(gzip.compress(b'"' + b"a" * (BODY_LIMIT - 1) + b'"'), "gzip")[0] == 413


def test_a_gzip_bomb_is_stopped_while_unpacking():
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(400)) + packer.flush()
    assert len(bomb) <= WIRE_LIMIT
    tracemalloc.start()
    assert refused(bomb, "gzip") == (413, "PAYLOAD_TOO_LARGE")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * BODY_LIMIT


def test_gzip_in_sixteen_members_is_the_most_that_is_unpacked():
    members = [gzip.compress(b"[1")] + [gzip.compress(b",1") for _ in range(14)]
    assert len(decode_body(b"".join([*members, gzip.compress(b"]")]), "gzip")) == 15
    refusal = refused(b"".join([*members, gzip.compress(b",1"), gzip.compress(b"]")]), "gzip")
    assert refusal == (400, "MALFORMED_JSON")


def test_a_chain_of_empty_gzip_members_is_refused():
    assert refused(gzip.compress(b"") * 20_000, "gzip")[1] == "MALFORMED_JSON"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b"{}{}", b"NaN", b"[Infinity]", b"[-Infinity]", b"[1e400]", b"[-1e400]",
        b'"\xff"', b'"\xed\xa0\xbd"', b"'a'", b"{a:1}", b"[1,]", b'"\x00"', b'"\n"', b"\xff\xfe",
        rb'["\ud83d",NaN]', rb'["\ud83d",1e400]', rb'["\ud83d",Infinity]', rb'"\u00zz"',
        rb'["\ud83d",' + b"9" * 400 + b"]", b'["\\ud83d","\xff"]', b"9" * 5000,
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(raw):
    assert refused(raw) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize("half", [b"", rb'"\ud83d",'])
def test_nesting_is_taken_up_to_its_limit(half):
    deepest = b"[" * (DEPTH_LIMIT - 1) + b"[" + half + b"1]" + b"]" * (DEPTH_LIMIT - 1)
    value = decode_body(deepest, "")
    assert depth_of(value) == DEPTH_LIMIT
    assert json.loads(dump_json(value)) == value
    assert refused(b"[" + deepest + b"]") == (400, "MALFORMED_JSON")
    assert refused(b"[" * 100_000 + b"]" * 100_000) == (400, "MALFORMED_JSON")
    inner, pairs = half.rstrip(b",") or b"1", DEPTH_LIMIT // 2 + 1
    assert refused(b'[{"a":' * pairs + inner + b"}]" * pairs) == (400, "MALFORMED_JSON")
    assert refused(b'{"a":' * 50_000 + half.rstrip(b",") + b"}" * 50_000)[0] == 400


@pytest.mark.parametrize("prefix", [b"", rb'"\ud83d",'])
def test_numbers_beyond_64_bits_are_doubles_as_in_a_browser(prefix):
    numbers = b"18446744073709551615,18446744073709551616,-9223372036854775809"
    value = decode_body(b"[" + prefix + numbers + b"]", "")
    assert value[-3:] == [2**64 - 1, float(2**64), -float(2**63)]
    assert isinstance(value[-1], float)
