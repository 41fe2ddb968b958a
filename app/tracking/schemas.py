"""What a batch must look like. The rules of CONTRACT section 1 in marshmallow's terms.

An event is checked by a field of our own in plain code: a nested schema costs several times as
much per event, and one bad event must not cost the others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from app.batch.batch import Context, Event
from app.batch.json import depth_of, dump_json
from app.tracking.timestamps import parse_timestamp
from app.tracking.user_agent import device

CATALOGUE = frozenset(
    {
        "widget:button_click",
        "widget:image_upload",
        "widget:generation_start",
        "widget:result_view",
        "widget:share_clicked",
        "widget:download_clicked",
        "widget:add_to_cart_clicked",
        "widget:add_to_cart_success",
        "widget:email_collected",
        "product_page:page_view",
        "product_page:cart_add",
    }
)

MAX_EVENTS = 50
MAX_NAME = 100  # characters
MAX_INSERT_ID = 255  # characters
MAX_JSON = 32 * 1024  # bytes of properties, and of context
MAX_PROPERTIES_DEPTH = 10

_PART = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"
_NAME = re.compile(f"{_PART}:{_PART}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_KNOWN = frozenset({"event", "properties", "timestamp", "$insert_id"})
_MESSAGES: dict[str, Any] = {"required": "is required", "null": "is required"}

# The context's fields that have a column of their own, all of them strings.
CONTEXT_COLUMNS = {
    "genlook_client_id": "client_id",
    "$session_id": "session_id",
    "$pageview_id": "pageview_id",
    "genlook_product_id": "product_id",
    "genlook_variant_id": "variant_id",
    "genlook_lib_version": "lib_version",
    "$current_url": "current_url",
}


_MAX_NAMES = 256  # bytes of the names above, with their punctuation


@dataclass(slots=True)
class InvalidEvent:
    index: int
    payload: Any
    errors: dict[str, str]  # field ("" for the event itself) to message

    @property
    def insert_id(self) -> str | None:
        """The id as sent, for the reply; None where it is too long to repeat or no string."""
        sent = self.payload.get("$insert_id") if isinstance(self.payload, dict) else None
        return sent if isinstance(sent, str) and len(sent) <= MAX_INSERT_ID else None


@dataclass(slots=True)
class Events:
    valid: list[Event]
    invalid: list[InvalidEvent]


class EventsField(fields.Field[Events]):
    """The array of events, each judged on its own."""

    default_error_messages = _MESSAGES

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Events:
        if type(value) is not list:
            raise ValidationError("must be an array")
        if not 1 <= len(value) <= MAX_EVENTS:
            raise ValidationError(f"must contain 1 to {MAX_EVENTS} events (got {len(value)})")
        events = Events([], [])
        for index, item in enumerate(value):
            try:
                events.valid.append(load_event(item))
            except ValidationError as error:
                events.invalid.append(InvalidEvent(index, item, error.messages_dict))
        return events


class ContextField(fields.Field[Context]):
    """The context that a batch's events share. A known field of the wrong type is no error."""

    default_error_messages = _MESSAGES

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> Context:
        if type(value) is not dict:
            raise ValidationError("must be an object")
        columns = {
            column: value[name]
            for name, column in CONTEXT_COLUMNS.items()
            if type(value.get(name)) is str
        }
        user_agent = value.get("$raw_user_agent")
        if type(user_agent) is str:
            columns |= device(user_agent)
        rest = dump_json(
            {name: item for name, item in value.items() if CONTEXT_COLUMNS.get(name) not in columns}
        )
        # No character takes more than 6 bytes: only what may be too large is measured.
        most = len(rest) + 6 * sum(map(len, columns.values())) + _MAX_NAMES
        if most > MAX_JSON and len(dump_json(value)) > MAX_JSON:
            raise ValidationError(f"is larger than {MAX_JSON} bytes as JSON")
        return Context(columns, rest, value)


class BatchSchema(Schema):
    """The body of a request. Fields other than `events` and `context` are ignored."""

    class Meta:
        unknown = EXCLUDE

    error_messages = {"type": "must be an object"}  # noqa: RUF012 - as Schema declares it

    events = EventsField(required=True)
    context = ContextField(required=True)


def load_event(value: Any) -> Event:
    """One event. ValidationError with a dict of field ("" for the event) to message."""
    if type(value) is not dict:
        raise ValidationError({"": "must be an object"})
    name, insert_id = value.get("event"), value.get("$insert_id")
    name_error, insert_id_error = _name_error(name), _insert_id_error(insert_id)
    timestamp, timestamp_error = _load_timestamp(value.get("timestamp"))
    properties, properties_error = _load_properties(value.get("properties"))
    if name_error or insert_id_error or timestamp_error or properties_error:
        errors = {
            "event": name_error,
            "$insert_id": insert_id_error,
            "timestamp": timestamp_error,
            "properties": properties_error,
        }
        raise ValidationError({field: message for field, message in errors.items() if message})
    extra = b"{}"
    if len(value) > 3 + ("properties" in value):  # the three required fields are there
        extra = dump_json({key: item for key, item in value.items() if key not in _KNOWN})
    return Event(name, insert_id, timestamp, properties, extra)  # type: ignore[arg-type]


def _name_error(name: Any) -> str | None:
    if type(name) is not str:
        return _wrong_type(name, "a string")
    if name in CATALOGUE:
        return None
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if not _NAME.fullmatch(name):
        return "must be category:action, each part in snake_case, such as widget:button_click"
    return None


def _insert_id_error(insert_id: Any) -> str | None:
    if type(insert_id) is not str:
        return _wrong_type(insert_id, "a string")
    if not 0 < len(insert_id) <= MAX_INSERT_ID:
        return f"must have 1 to {MAX_INSERT_ID} characters"
    if not insert_id.isprintable() and _CONTROL.search(insert_id):
        return "must not contain control characters"
    return None


def _load_timestamp(sent: Any) -> tuple[datetime | None, str | None]:
    if type(sent) is not str:
        return None, _wrong_type(sent, "a string")
    try:
        return parse_timestamp(sent), None
    except ValueError as error:
        return None, str(error)


def _load_properties(sent: Any) -> tuple[bytes, str | None]:
    if not sent and (sent is None or type(sent) is dict):
        return b"{}", None
    if type(sent) is not dict:
        return b"", "must be an object"
    properties = dump_json(sent)
    # As many levels need as many brackets: only what may be too deep is measured.
    if (
        properties.count(b"{") + properties.count(b"[") > MAX_PROPERTIES_DEPTH
        and depth_of(sent) > MAX_PROPERTIES_DEPTH
    ):
        return b"", f"is nested deeper than {MAX_PROPERTIES_DEPTH} levels"
    if len(properties) > MAX_JSON:
        return b"", f"is larger than {MAX_JSON} bytes as JSON"
    return properties, None


def _wrong_type(value: Any, wanted: str) -> str:
    return "is required" if value is None else f"must be {wanted}"
