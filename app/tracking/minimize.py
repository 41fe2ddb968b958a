"""Keeping less of a batch than the caller sent, where the settings say so, before it is stored."""

import re

import orjson

from app.batch.addresses import hash_in_json
from app.batch.batch import Context
from app.batch.json import dump_json
from app.tracking.validation import Validated
from config.settings import Settings

_USER_AGENT = "$raw_user_agent"
_IN_TEXT = re.compile(r'("\$raw_user_agent"\s*:\s*)"(?:[^"\\]|\\.)*"?')


def minimize(validated: Validated, settings: Settings) -> None:
    """Hash e-mail addresses (HASH_EMAILS); leave out the raw user agent
    (USER_AGENT_RETENTION_DAYS=0)."""
    if settings.hash_emails:
        _hash_emails(validated, settings.email_hash_key)
    if not settings.user_agent_retention_days:
        _leave_out_user_agent(validated.context)
        for rejected in validated.rejected:
            rejected.payload = _IN_TEXT.sub(r'\1""', rejected.payload)


def _hash_emails(validated: Validated, key: bytes) -> None:
    for event in validated.events:
        event.properties = hash_in_json(event.properties, key)
        event.extra = hash_in_json(event.extra, key)
    for rejected in validated.rejected:
        rejected.payload = hash_in_json(rejected.payload.encode(), key).decode()


def _leave_out_user_agent(context: Context) -> None:
    context.rest = _without_user_agent(context.rest)
    if context.fields:
        context.fields = {k: v for k, v in context.fields.items() if k != _USER_AGENT}


def _without_user_agent(text: bytes) -> bytes:
    if b"user_agent" not in text:
        return text
    value = orjson.loads(text)
    value.pop(_USER_AGENT, None)
    return dump_json(value)
