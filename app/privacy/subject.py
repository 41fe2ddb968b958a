"""Who a request is about, and whether something is about them.

Shoppers are known by their customer id, by the client ids of the browsers in which they were logged
in, and by their e-mail addresses. A browser may be shared: what came from one of theirs while they
or nobody was logged in counts as theirs. What came while another customer was logged in does not.
"""

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from typing import Any, Self

from app.batch.addresses import hashed, normalize


@dataclass(frozen=True)
class Subject:
    """`client_ids` are asked for by name, and theirs is all that came from them; `browsers` and
    `batch_ids` were found on the way, and are remembered in case that the way is interrupted."""

    customer_id: str | None = None
    emails: tuple[str, ...] = ()  # normalized, and hashed where there is a key
    client_ids: tuple[str, ...] = ()
    browsers: tuple[str, ...] = ()
    batch_ids: tuple[int, ...] = ()

    @classmethod
    def build(
        cls,
        *,
        customer_id: str | None = None,
        emails: Iterable[str] = (),
        client_ids: Iterable[str] = (),
        hash_key: bytes = b"",
    ) -> Self:
        plain = [normalize(email.replace("\0", "")) for email in emails if email.strip()]
        hashes = [hashed(email, hash_key) for email in plain if hash_key]
        return cls(customer_id or None, (*plain, *hashes), tuple(client_ids))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        return cls(**{name: _frozen(value) for name, value in document.items()})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def with_found(self, browsers: Iterable[str], batch_ids: Iterable[int]) -> Self:
        return replace(
            self,
            browsers=tuple({*self.browsers, *browsers}),
            batch_ids=tuple({*self.batch_ids, *batch_ids}),
        )

    def fingerprints(self) -> "Fingerprints":
        salt = secrets.token_hex(16)
        return Fingerprints(
            salt,
            customers=_digests(salt, [self.customer_id] if self.customer_id else []),
            clients=_digests(salt, self.client_ids),
            browsers=_digests(salt, self.browsers),
            emails=_digests(salt, self.emails),
        )


@dataclass(frozen=True)
class Fingerprints:
    """The same as salted digests: enough to recognize what arrives late, and to tell nothing."""

    salt: str
    customers: frozenset[str] = field(default_factory=frozenset)
    clients: frozenset[str] = field(default_factory=frozenset)
    browsers: frozenset[str] = field(default_factory=frozenset)
    emails: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        sets = {name: frozenset(value) for name, value in document.items() if name != "salt"}
        return cls(document["salt"], **sets)

    def as_json(self) -> dict[str, Any]:
        return {
            name: value if name == "salt" else sorted(value) for name, value in asdict(self).items()
        }

    def with_browsers(self, client_ids: Iterable[str]) -> Self:
        return replace(self, browsers=self.browsers | _digests(self.salt, client_ids))

    def owns(self, customer_id: str | None, *client_ids: str | None) -> bool:
        """Whether what came from a customer (None: nobody was logged in) and browser is theirs."""
        if customer_id and _digest(self.salt, customer_id) in self.customers:
            return True
        clients = _digests(self.salt, filter(None, client_ids))
        return bool(clients & self.clients or (not customer_id and clients & self.browsers))

    def mentions(self, addresses: Iterable[str]) -> bool:
        """Whether one of the addresses, normalized or hashed, is theirs."""
        return bool(self.emails) and any(
            _digest(self.salt, address) in self.emails for address in addresses
        )


def _digests(salt: str, values: Iterable[str]) -> frozenset[str]:
    return frozenset(_digest(salt, value) for value in values)


def _digest(salt: str, value: str) -> str:
    return blake2b(value.encode(), key=salt.encode(), digest_size=16).hexdigest()


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
