import json
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.shopify.app_proxy import _parse, sign, verify

VECTORS = json.loads(Path(__file__).with_name("app_proxy.json").read_text())["vectors"]
MARKERS = ("shop=", "timestamp=", "path_prefix=", "logged_in_customer_id=")
NOW = 1317327555
SECRET = "hush"

texts = st.text(st.characters(codec="utf-8"), max_size=12)
shops = st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}\.myshopify\.com", fullmatch=True)
extras = st.lists(st.tuples(texts, texts), max_size=4)
RESERVED = {"shop", "timestamp", "path_prefix", "logged_in_customer_id", "signature"}


def judge(query, secret=SECRET, now=NOW):
    return verify(query.encode("latin-1"), [secret.encode()], now=now, max_age=90)


@st.composite
def parameters(draw):
    others = [(key, value) for key, value in draw(extras) if key not in RESERVED]
    joined = {}
    for key, value in others:
        joined.setdefault(key, []).append(value)
    assume(not any(m in f"{k}={','.join(v)}" for k, v in joined.items() for m in MARKERS))
    own = [
        ("shop", draw(shops)),
        ("timestamp", str(draw(st.integers(NOW - 90, NOW + 90)))),
        ("path_prefix", "/apps/" + draw(st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True))),
        ("logged_in_customer_id", draw(st.sampled_from(["", "7", "6123456789"]))),
    ]
    return draw(st.permutations(others + own))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_a_worked_example_gets_its_verdict(vector):
    verdict = verify(
        vector["query"].encode("latin-1"),
        [secret.encode() for secret in vector["secrets"]],
        now=vector["now"],
        max_age=90,
    )
    assert verdict.valid is vector["valid"]
    assert verdict.cause == vector.get("cause")
    if vector["valid"]:
        assert (verdict.shop, verdict.customer_id) == (vector["shop"], vector["customer_id"])


@given(parameters())
def test_whatever_our_signer_signs_verifies(pairs):
    verdict = judge(sign(pairs, SECRET))
    wanted = dict(pairs)
    assert verdict.cause is None
    assert verdict.shop == wanted["shop"]
    assert verdict.customer_id == (wanted["logged_in_customer_id"] or None)


@given(parameters(), st.data())
def test_a_changed_value_does_not_verify(pairs, data):
    signed = parse_qsl(sign(pairs, SECRET), keep_blank_values=True)
    index = data.draw(st.integers(0, len(signed) - 1))
    key, value = signed[index]
    changed = data.draw(texts.filter(lambda text: text != value))
    signed[index] = (key, changed)
    # What is moved between a key's joined values is the same text: a=1&a=2 against a=1,2.
    assume(_joined(signed) != _joined(parse_qsl(sign(pairs, SECRET), keep_blank_values=True)))
    assert not judge(urlencode(signed)).valid


@given(parameters(), texts.filter(lambda text: text not in RESERVED), texts)
def test_an_added_parameter_does_not_verify(pairs, key, value):
    assume(key or value)
    assert not judge(sign(pairs, SECRET) + "&" + urlencode([(key, value)])).valid


@given(parameters(), st.data())
def test_a_missing_parameter_does_not_verify(pairs, data):
    signed = parse_qsl(sign(pairs, SECRET), keep_blank_values=True)
    gone = signed.pop(data.draw(st.integers(0, len(signed) - 1)))
    assume(gone[0] or gone[1])
    assert not judge(urlencode(signed)).valid


@given(parameters(), st.text(min_size=1, max_size=20).filter(lambda text: text != SECRET))
def test_another_secret_does_not_verify(pairs, secret):
    assume(all(ord(character) < 0xD800 for character in secret))
    assert judge(sign(pairs, secret)).cause == "bad_signature"


@given(st.binary(max_size=300))
@example(b"shop=%FF&timestamp=" + b"9" * 5000 + b"&path_prefix=%00&signature=%")
@example(b"&".join([b"shop=a.myshopify.com"] * 3))
def test_no_query_raises(query):
    assert not verify(query, [b"hush"], now=NOW, max_age=90).valid


@given(st.lists(st.sampled_from([*b"&=+%a2f;", 0xFF])).map(bytes))
@example(b"a=%ff&a=+%2B&&=b&c&d=%zz&%=%4")
def test_a_query_is_parsed_as_the_standard_library_does(query):
    expected = {}
    for key, value in parse_qsl(
        query.decode("latin-1"), keep_blank_values=True, encoding="latin-1"
    ):
        expected.setdefault(key, []).append(value)
    assert _parse(query) == expected


@given(st.binary(max_size=60), st.text(max_size=30))
def test_no_signed_query_raises(prefix, path):
    assume(all(ord(character) < 0xD800 for character in path))
    pairs = [("a", prefix.decode("latin-1")), ("shop", "x"), ("timestamp", path)]
    judge(sign([*pairs, ("path_prefix", path)], SECRET))


def test_a_parameter_may_not_hold_its_own_name_again():
    pairs = [
        ("shop", "a.myshopify.com"),
        ("timestamp", str(NOW)),
        ("path_prefix", "/apps/x"),
        ("logged_in_customer_id", "7logged_in_customer_id="),
    ]
    assert judge(sign(pairs, SECRET)).cause == "ambiguous_param"


@pytest.mark.parametrize("path", ["", "apps/x", "/a b", "/a?b", "/a\nb"])
def test_a_path_prefix_must_look_like_a_path(path):
    pairs = [("shop", "a.myshopify.com"), ("timestamp", str(NOW)), ("path_prefix", path)]
    assert judge(sign(pairs, SECRET)).cause == "bad_path_prefix"


def _joined(pairs):
    values = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return sorted(f"{key}={','.join(parts)}" for key, parts in values.items() if key != "signature")
