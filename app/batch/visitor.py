"""Who counts as a visitor, for the limits and the reports: the same in Python and in SQL, which is
over `events` e and `batches` b."""

from collections.abc import Mapping

_NIL = "00000000-0000-0000-0000-000000000000"
_MISSING = ("", "undefined", "null", "NaN", "None", "[object Object]", _NIL)
_BLANKS = " \t\n\r\f\v\u00a0\ufeff"
_BLANKS_IN_SQL = "E' \\t\\n\\r\\f\\v\\u00a0\\ufeff'"

# A context, or an event's properties, where it is true: nobody who shops did it.
NOBODYS = ("designMode", "webdriver")  # the theme editor; a browser that a program drives

# The context's field which says that this page had no widget to try on with.
WIDGET = "genlook_widget_enabled"


def named(sent: str | None) -> str | None:
    """The genlook_client_id or $session_id as sent; None where it names nobody: what JavaScript
    and others write for a missing value, a blank, the nil UUID, also in JSON's quotes."""
    if sent and len(sent) == len(_NIL) and sent[8] == "-":  # a UUID, as nearly all are
        return None if sent == _NIL else sent
    if not sent or sent.strip(_BLANKS).strip('"').strip(_BLANKS) in _MISSING:
        return None
    return sent


def visitor_of(client_id: str | None, session_id: str | None) -> str | None:
    return named(client_id) or named(session_id)


def is_nobodys(fields: Mapping[str, object]) -> bool:
    """Of a context or of properties."""
    return any(fields.get(name) is True for name in NOBODYS)


def _named_in_sql(column: str) -> str:
    bare = f"btrim(btrim(btrim({column}, {_BLANKS_IN_SQL}), '\"'), {_BLANKS_IN_SQL})"
    missing = ", ".join(f"'{text}'" for text in _MISSING)
    return f"CASE WHEN {bare} NOT IN ({missing}) THEN {column} END"


# `visitor_of`, null where it is None.
VISITOR = f"coalesce({_named_in_sql('b.client_id')}, {_named_in_sql('b.session_id')})"


def _any_nobodys(fields: str) -> str:
    return " OR ".join(f"coalesce({fields} @> '{{\"{name}\": true}}', false)" for name in NOBODYS)


# Whether a batch, or only an event, is of a robot, of the theme editor or of a browser that a
# program drives.
IS_BATCH_NOBODYS = f"(b.device_class IS NOT DISTINCT FROM 'bot' OR {_any_nobodys('b.context')})"
IS_EVENT_NOBODYS = f"({_any_nobodys('e.properties')})"
IS_WITHOUT_WIDGET = f"coalesce(b.context @> '{{\"{WIDGET}\": false}}', false)"
