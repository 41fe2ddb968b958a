"""From the bytes of a request to what is accepted, what is rejected, and why."""

from dataclasses import dataclass, field

from marshmallow import ValidationError

from app.batch.batch import Context, Event, Rejected
from app.batch.json import dump_json, mend
from app.replies import Detail, Refusal
from app.tracking.body import decode_text, unpack_body
from app.tracking.schemas import BatchSchema, InvalidEvent

VALIDATION_FAILED = "VALIDATION_FAILED"
_MAX_PAYLOAD = 256 * 1024  # characters that are kept of something rejected

_schema = BatchSchema()


@dataclass(slots=True)
class Validated:
    """`refusal` is set where nothing of the request is usable."""

    context: Context = field(default_factory=Context)
    events: list[Event] = field(default_factory=list)
    invalid: list[InvalidEvent] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    refusal: Refusal | None = None
    size: int = 0  # bytes of the body, unpacked; 0 where nothing of it is usable


def validate(raw: bytes, content_encoding: str) -> Validated:
    """Judge a body. Never raises, whatever the caller sent."""
    try:
        text = unpack_body(raw, content_encoding)
        loaded = _schema.load(decode_text(text))
    except Refusal as refusal:
        return _unusable(refusal, raw)
    except ValidationError as error:
        return _unusable(_refusal(_batch_details(error)), raw)
    events = loaded["events"]
    result = Validated(loaded["context"], events.valid, events.invalid, size=len(text))
    result.rejected = [
        Rejected(
            event.index,
            VALIDATION_FAILED,
            event_details(event),
            dump_json(event.payload).decode()[:_MAX_PAYLOAD],
        )
        for event in events.invalid
    ]
    if not events.valid:
        result.refusal = _refusal(
            [
                detail
                for event in events.invalid
                for detail in event_details(event, f"events.{event.index}")
            ]
        )
    return result


def event_details(event: InvalidEvent, prefix: str = "") -> list[Detail]:
    return [
        {"path": ".".join(filter(None, (prefix, field))), "message": message}
        for field, message in event.errors.items()
    ]


def _batch_details(error: ValidationError) -> list[Detail]:
    return [
        {"path": "" if field == "_schema" else field, "message": " ".join(messages)}
        for field, messages in error.messages_dict.items()
    ]


def _refusal(details: list[Detail]) -> Refusal:
    first = details[0]
    message = f"No event is usable: {first['path'] or 'the body'} {first['message']}."
    return Refusal(400, VALIDATION_FAILED, message, details=details)


def _unusable(refusal: Refusal, raw: bytes) -> Validated:
    readable = refusal.status == 400  # else it is too large, or in an unknown encoding
    payload = mend(raw.decode(errors="replace"))[:_MAX_PAYLOAD] if readable else ""
    rejected = Rejected(None, refusal.code, refusal.details or [], payload)
    return Validated(rejected=[rejected], refusal=refusal)
