"""Reporting faults to Sentry, where SENTRY_DSN is set: what happened and where in the code, and
nothing of what a caller sent."""

from typing import Any

from config.causes import cause
from config.settings import Settings

_KEPT = ("action", "shop", "topic", "request")  # of a log line's fields


def report_to_sentry(settings: Settings) -> None:
    if not settings.sentry_dsn:
        return
    import sentry_sdk  # of the optional extra; the settings have looked for it

    sentry_sdk.init(
        settings.sentry_dsn,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_session_tracking=False,
        before_send=_strip,  # type: ignore[arg-type]
    )


def _strip(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    request = event.pop("request", {})
    event["request"] = {"method": request.get("method")}
    event.pop("user", None)
    event.pop("breadcrumbs", None)
    event["extra"] = {name: event.get("extra", {}).get(name) for name in _KEPT}
    if "logentry" in event:
        message = str(event["logentry"].get("message")).partition("\n")[0]
        event["logentry"] = {"message": message}
    # An exception's text may quote a row or a query; its type and its trace tell where to look.
    for exception in event.get("exception", {}).get("values", []):
        exception["value"] = ""
    error = hint.get("exc_info", (None, None, None))[1]
    if error and "exception" in event:
        event["exception"]["values"][-1]["value"] = cause(error)  # the others led to it
    return event
