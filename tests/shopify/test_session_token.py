import time

import jwt
import pytest

from app.shopify.session_token import LEEWAY, make_token, verify_token

SECRET = b"0123456789abcdef0123456789abcdef"
SHOP = "a-shop.myshopify.com"
NOW = 1_800_000_000
KEY = "the-key"


def token(key=SECRET, algorithm="HS256", without=(), **changes):
    claims = {
        "iss": f"https://{SHOP}/admin",
        "dest": f"https://{SHOP}",
        "aud": KEY,
        "sub": "42",
        "exp": NOW + 60,
        "nbf": NOW,
        "iat": NOW,
        "jti": "x",
        "sid": "y",
    } | changes
    return jwt.encode(
        {name: value for name, value in claims.items() if name not in without},
        key,
        algorithm=algorithm,
    )


def judged(shown, *, now=NOW, key=KEY, secrets=(SECRET,)):
    return verify_token(shown, key, secrets, now=now)


def test_a_good_token_names_the_shop():
    assert judged(token()).valid
    assert judged(token()).shop == SHOP


def test_each_secret_of_the_list_is_good():
    assert judged(token(), secrets=(b"the new one", SECRET)).valid


@pytest.mark.parametrize(
    ("now", "cause"),
    [
        (NOW - LEEWAY, None),
        (NOW - LEEWAY - 1, "stale"),
        (NOW + 60 + LEEWAY - 1, None),
        (NOW + 60 + LEEWAY, "stale"),
    ],
)
def test_ten_seconds_of_leeway_at_both_ends(now, cause):
    assert judged(token(), now=now).cause == cause


@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        ("", "bad_signature"),
        ("a.b.c", "bad_signature"),
        ("\x00é", "bad_signature"),
        (token(key=b"another secret of 32 bytes ......"), "bad_signature"),
        (token(key=None, algorithm="none"), "bad_signature"),
        (token(algorithm="HS512", key=SECRET * 2), "bad_signature"),
        (token(aud="other"), "bad_aud"),
        (token(aud=[KEY]), "bad_aud"),
        (token(without=["aud"]), "bad_aud"),
        (token(dest="https://evil.com"), "bad_dest"),
        (token(dest=f"https://{SHOP}.evil.com"), "bad_dest"),
        (token(dest=f"http://{SHOP}"), "bad_dest"),
        (token(dest=f"https://{SHOP}\n"), "bad_dest"),
        (token(dest=1), "bad_dest"),
        (token(iss="https://other.myshopify.com/admin"), "bad_iss"),
        (token(without=["iss"]), "bad_iss"),
        (token(without=["exp"]), "bad_time"),
        (token(without=["nbf"]), "bad_time"),
        (token(exp=str(NOW + 60)), "bad_time"),
        (token(exp=True), "bad_time"),
    ],
)
def test_whatever_is_wrong_is_refused_by_name(shown, cause):
    assert judged(shown).cause == cause


@pytest.mark.parametrize("claims", [{"sub": 5}, {"sub": None}, {"jti": 5}, {"iat": NOW * 2}])
def test_what_nobody_looks_at_may_be_anything(claims):
    assert judged(token(**claims)).valid


def test_its_time_is_judged_by_the_time_that_is_told_and_not_by_another_clock():
    assert judged(token(nbf=900, exp=1_000), now=950).valid


def test_without_the_apps_key_nothing_is_good():
    assert judged(token(aud=""), key="").cause == "no_key"


def test_a_token_made_here_is_one_of_shopifys_kind():
    made = make_token(SHOP, KEY, SECRET, now=time.time(), lifetime=60)
    assert judged(made, now=time.time()).valid
