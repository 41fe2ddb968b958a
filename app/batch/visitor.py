"""Who a batch is from, and the texts that name nobody."""

_NIL = "00000000-0000-0000-0000-000000000000"
_MISSING = frozenset({"", "undefined", "null", "NaN", "None", "[object Object]", _NIL})


def named(sent: str | None) -> str | None:
    """The genlook_client_id or $session_id as sent; None where it names nobody: what JavaScript
    and others write for a missing value, a blank, the nil UUID, also in JSON's quotes."""
    if not sent or sent.strip().strip('"').strip() in _MISSING:
        return None
    return sent
