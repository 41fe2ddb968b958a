"""Genlook's tracking backend."""

import click
from flask import Flask
from flask.cli import FlaskGroup

from app import (
    cli,
    commands,
    health,
    intake,
    merchant,
    responses,
    sentry,
    tracker,
    tracking,
    webhooks,
)
from config import logs
from config.settings import Settings, load_settings

_BODY_LIMIT = 16 * 1024  # bytes; routes that take more say so


def create_app(settings: Settings | None = None) -> Flask:
    """Build everything; nothing here touches the network, the disk or the clock.

    SettingsError where the environment is not complete.
    """
    app = Flask(__name__, static_folder=None)
    cli.init_app(app)
    if settings is None:
        context = click.get_current_context(silent=True)
        if context and isinstance(context.command, FlaskGroup):
            # `flask` is looking for its commands. They read the settings when they run, so that
            # `flask --help` and `flask dev` work before anything is set.
            return app
        settings = commands.settings() if context else load_settings()
        logs.configure(settings.log_level, settings.log_format)
    sentry.report_to_sentry(settings)
    # A redirect is never sent: Shopify's proxy follows or breaks them.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = _BODY_LIMIT
    app.extensions["settings"] = settings
    parts = intake.build(settings)
    app.extensions["intake"], app.extensions["drainer"] = parts.intake, parts.drainer
    app.extensions["watch"] = parts.watch
    app.extensions["database"] = parts.postgres.connection
    responses.init_app(app)
    health.init_app(app, parts, settings)
    tracking.init_app(app, settings)
    tracker.init_app(app, settings)
    merchant.init_app(app, settings)
    webhooks.init_app(app)
    return app
