"""GET /app and the API behind it."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import orjson
import psycopg
from flask import Blueprint, Response, current_app, g, render_template, request
from markupsafe import Markup, escape
from psycopg import Connection
from psycopg_pool import PoolTimeout, TooManyRequests

from app.counts.measures import STEPS
from app.counts.period import Shop, find_shop
from app.health.status import Status
from app.merchant import access, curves, experiments, preferences, tables, words
from app.merchant.database import Busy, Database
from app.merchant.experiments import SHARES
from app.merchant.groups import SHOWN, View, find_groups
from app.merchant.language import Language
from app.merchant.ranges import (
    PRESETS,
    read_only,
    read_period,
    read_search,
    read_view,
    refusal,
)
from app.merchant.reports import freshness, is_empty, rejected, report
from app.replies import SUCCESS, Refusal, Reply, envelope, refusal_reply
from app.responses import json_response, response_of
from app.store.shops import has_app, mark_installed

logger = logging.getLogger(__name__)

_OF_THE_PAGE = ("has_app", "has_settings", "found")

bp = Blueprint("merchant", __name__, url_prefix="/app", template_folder="templates")
bp.before_request(access.authenticate)
bp.after_request(access.protect)


@bp.get("", provide_automatic_options=False)
def page() -> str:
    """The page, with the numbers that the API gives. A shop that opens it has the app installed."""
    shown = _shown()
    if not shown["has_app"]:  # else a primary that is away does not matter to who reads a replica
        with _database().writing() as connection:
            mark_installed(connection, g.shop, datetime.now(UTC))
    language: Language = g.language
    return render_template(
        "report.html",
        **shown,
        **_in_language(language),
        names=words.events(language),
        groups=words.groups(language),
        steps=STEPS,
        curves=curves,
        presets=PRESETS,
        windows=preferences.WINDOWS,
        words=words,
        now=datetime.now(UTC),
        chosen=request.args,
        link=_link,
        address=_address,
        shared=_shared,
        api_key=current_app.extensions["settings"].shopify_api_key,
        is_embedded=request.args.get("embedded") == "1",
        events_path=f"{current_app.extensions['settings'].app_proxy_path}/public/tracking/events",
    )


@bp.get("/session-token", provide_automatic_options=False)
def session_token() -> str:
    """A page for App Bridge alone, which fetches a token and returns to `shopify-reload`."""
    access.own_address(request.args.get("shopify-reload", ""))
    api_key = current_app.extensions["settings"].shopify_api_key
    return render_template("session_token.html", api_key=api_key, **_in_language(g.language))


@bp.get("/api/report", provide_automatic_options=False)
def api_report() -> Response:
    return _json({name: what for name, what in _shown().items() if name not in _OF_THE_PAGE})


@bp.get("/api/table.csv", provide_automatic_options=False)
def api_table() -> Response:
    name = request.args.get("table", "funnel")
    if name not in tables.TABLES:
        raise refusal("table", f"must be one of {', '.join(tables.TABLES)}")
    view = read_view(request.args)
    show = name if name in SHOWN else "funnel"
    report = _shown(View(view.by, view.sort, None, show))["report"]
    of = "" if name in tables.OF_ALL_GROUPS else tables.name_of(report["only"])
    rows = tables.TABLES[name](report)
    return _download(tables.as_csv(rows), "text/csv", f"{name}{of}.csv")


@bp.get("/api/events", provide_automatic_options=False)
def api_events() -> Response:
    """Raw events, streamed as they are read from Postgres."""
    kind = request.args.get("format", "csv")
    if kind not in ("csv", "ndjson"):
        raise refusal("format", "must be csv or ndjson")

    def begin(connection: Connection) -> Iterator[Any]:
        shop = find_shop(connection, g.shop) or _unknown_shop()
        period = read_period(request.args, shop.today, g.language)
        rows = tables.raw_events(connection, shop, period)
        lines: Iterator[Any] = tables.as_csv(rows) if kind == "csv" else tables.as_ndjson(rows)
        return chain([next(lines)], lines)  # what fails at once still decides the status

    stack = ExitStack()
    lines = stack.enter_context(_database().exporting(g.shop, begin))
    media = {"csv": "text/csv", "ndjson": "application/x-ndjson"}[kind]
    reply = _download(lines, media, f"events.{kind}")
    reply.call_on_close(stack.close)
    return reply


@bp.put("/api/settings", provide_automatic_options=False)
def api_settings() -> Response:
    sent = _sent("time_zone and window_hours")
    with _database().writing() as connection:
        preferences.change(
            connection,
            g.shop,
            time_zone=sent.get("time_zone"),
            window_hours=sent.get("window_hours"),
            language=g.language,
        )
    return json_response(SUCCESS)


@bp.get("/api/experiment", provide_automatic_options=False)
def api_experiment() -> Response:
    share = request.args.get("share")
    if share is not None and not (share.isascii() and share.isdigit() and int(share) in SHARES):
        raise refusal("share", "must be a whole number of percent, 1 to 50")
    return _json(_experiments(share=int(share) if share else None))


@bp.put("/api/experiment", provide_automatic_options=False)
def api_start_experiment() -> Response:
    sent = _sent("share")
    with _database().writing() as connection:
        experiments.start(
            connection,
            g.shop,
            share=sent.get("share"),
            begins=sent.get("start"),
            ends=sent.get("end"),
            salt=sent.get("salt"),
        )
    return json_response(SUCCESS)


@bp.delete("/api/experiment", provide_automatic_options=False)
def api_stop_experiment() -> Response:
    """Also where none runs."""
    with _database().writing() as connection:
        experiments.stop(connection, g.shop)
    return json_response(SUCCESS)


@bp.get("/api/experiment.csv", provide_automatic_options=False)
def api_experiment_days() -> Response:
    shown = _experiments()
    name = f"experiment{tables.name_of(shown['only'])}.csv"
    return _download(tables.as_csv(experiments.days(shown)), "text/csv", name)


@bp.errorhandler(Busy)
def busy(_: Busy) -> Response:
    message = g.language.gettext("Another export is running. Please try again in a minute.")
    body = envelope("BUSY", message)
    return response_of(Reply(body, 503, (("Retry-After", "60"),)))


@bp.errorhandler(psycopg.Error)
@bp.errorhandler(PoolTimeout)
@bp.errorhandler(TooManyRequests)
def unavailable(error: Exception) -> Response:
    logger.error(
        "a report could not be read",
        extra={"action": "report_failed", "shop": g.get("shop"), "cause": type(error).__name__},
    )
    message = g.language.gettext("The reports are temporarily unavailable. Please try again.")
    return response_of(refusal_reply(Refusal(503, "UNAVAILABLE", message)))


def _shown(view: View | None = None) -> dict[str, Any]:
    """Everything that the page shows, from one snapshot; of the groups those of the address, or of
    the `view`."""
    groups, only = view or read_view(request.args), read_only(request.args)
    status: Status = current_app.extensions["status"]()

    def read(connection: Connection) -> dict[str, Any]:
        shop = find_shop(connection, g.shop) or _unknown_shop()
        period = read_period(request.args, shop.today, g.language)
        return {
            "report": report(connection, shop, period, groups, g.language, only),
            "found": find_groups(connection, shop, read_search(request.args)),
            "freshness": freshness(connection, shop, oldest_waiting=status.oldest_seconds),
            "rejected": rejected(connection, shop),
            "is_empty": is_empty(connection, shop),
            "has_app": has_app(connection, g.shop),
            "has_settings": preferences.are_chosen(connection, shop.id),
            "experiment": experiments.show(connection, shop, language=g.language, only=only),
        }

    shown = _database().read(read)
    shown["freshness"]["stream_waiting"] = status.backlog and status.backlog.batches
    return shown


def _experiments(share: int | None = None) -> dict[str, Any]:
    only = read_only(request.args)

    def read(connection: Connection) -> dict[str, Any]:
        shop = find_shop(connection, g.shop) or _unknown_shop()
        return experiments.show(connection, shop, share=share, language=g.language, only=only)

    return _database().read(read)


def _in_language(language: Language) -> dict[str, Any]:
    """What templates say texts, numbers and days with. What is filled into a text is escaped."""

    def gettext(text: str, **values: object) -> Markup:
        translated = escape(language.gettext(text))
        return translated % values if values else translated

    def ngettext(one: str, many: str, number: int, **values: object) -> Markup:
        form = escape(language.form(one, many, number))
        return form % {"number": language.number(number), **values}

    return {"language": language, "_": gettext, "ngettext": ngettext}


def _link(**changes: object) -> str:
    """This page with another choice, or with none where that is None. The token stays out: the
    script sends it in a header."""
    kept = {name: value for name, value in request.args.items() if name != "id_token"}
    gone = {"page", "find"}
    if "range" in changes:
        gone |= {"from", "to"}
    kept = {name: value for name, value in kept.items() if name not in gone}
    query = {name: value for name, value in (kept | changes).items() if value is not None}
    return f"{access.PAGE}?{urlencode(query)}"


def _address(path: str, **query: str) -> str:
    """Of the API, in the language of the page."""
    locale = request.args.get("locale")
    return f"{path}?{urlencode(query | ({'locale': locale} if locale else {}))}"


def _shared(report: dict[str, Any]) -> str:
    """Where a colleague sees the same days and groups: in the shop's admin, in their language."""
    groups = report["breakdown"]
    query = {
        "from": report["period"]["first"],
        "to": report["period"]["last"],
        "by": groups["by"],
        "sort": groups["sort"],
        "page": groups["page"],
    }
    for show in ("comparison", "experiment"):
        if groups[show]:
            query["show"] = show
    if "only" in request.args:
        query["only"] = request.args["only"]
    shop = report["shop"].partition(".")[0]
    api_key = current_app.extensions["settings"].shopify_api_key
    return f"{access.ADMIN}/store/{shop}/apps/{api_key}{access.PAGE}?{urlencode(query)}"


def _sent(fields: str) -> dict[str, Any]:
    sent = request.get_json(force=True, silent=True)
    if not isinstance(sent, dict):
        raise Refusal(400, "MALFORMED_JSON", f"The body must be a JSON object with {fields}.")
    return sent


def _unknown_shop() -> Shop:
    return Shop(0, g.shop)


def _database() -> Database:
    database: Database = current_app.extensions["reports"]
    return database


def _json(value: dict[str, Any]) -> Response:
    return json_response(orjson.dumps(value, default=_as_json))


def _as_json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _download(lines: Iterator[str] | Iterator[bytes], media: str, name: str) -> Response:
    day = datetime.now(UTC).date()
    disposition = f'attachment; filename="{g.shop.partition(".")[0]}-{day}-{name}"'
    return Response(lines, content_type=f"{media}; charset=utf-8",
                    headers={"Content-Disposition": disposition})  # fmt: skip
