"""Session tokens: how Shopify's admin tells an embedded app who looks at its page.

Source: https://shopify.dev/docs/apps/build/authentication-authorization/session-tokens
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from app.shopify.domain import is_shop

# The secret's length is Shopify's choice, and a developer's own.
warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)

LEEWAY = 10  # s
_TIMES = ("exp", "nbf", "iat")


@dataclass(frozen=True, slots=True)
class Token:
    """`shop` counts where `cause` is None, or "stale": then Shopify has signed it some time ago.

    Other causes name the first rule that failed, for the log: no_key, bad_signature, bad_aud,
    bad_dest, bad_iss, bad_time.
    """

    cause: str | None
    shop: str = ""

    @property
    def valid(self) -> bool:
        return self.cause is None


def verify_token(token: str, api_key: str, secrets: Sequence[bytes], *, now: float) -> Token:
    """Judge a token; every secret in the list is good. Never raises. `now` is Unix seconds."""
    if not api_key:
        return Token("no_key")
    claims = _claims(token, secrets)
    if claims is None:
        return Token("bad_signature")
    if claims.get("aud") != api_key:
        return Token("bad_aud")
    dest, issuer = claims.get("dest"), claims.get("iss")
    scheme, _, shop = dest.partition("://") if isinstance(dest, str) else ("", "", "")
    if scheme != "https" or not is_shop(shop):
        return Token("bad_dest")
    if issuer != f"{dest}/admin":
        return Token("bad_iss")
    times = [claims.get(name) for name in _TIMES if name != "iat" or name in claims]
    if not all(type(time) in (int, float) for time in times):
        return Token("bad_time")
    is_fresh = claims["nbf"] - LEEWAY <= now < claims["exp"] + LEEWAY
    return Token(None if is_fresh else "stale", shop)


def _claims(token: str, secrets: Sequence[bytes]) -> dict[str, Any] | None:
    for secret in secrets:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=["HS256"],
                # Its own look at the claims has another clock, and takes lists and texts.
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_iss": False,
                    "verify_nbf": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except (jwt.PyJWTError, ValueError):
            continue
        return claims
    return None


def make_token(shop: str, api_key: str, secret: bytes, *, now: float, lifetime: int) -> str:
    """A token as Shopify makes it, for the tests and a developer's machine. Seconds."""
    claims = {
        "iss": f"https://{shop}/admin",
        "dest": f"https://{shop}",
        "aud": api_key,
        "sub": "1",
        "exp": int(now) + lifetime,
        "nbf": int(now),
        "iat": int(now),
        "jti": f"{now}",
        "sid": "local",
    }
    return jwt.encode(claims, secret, algorithm="HS256")
