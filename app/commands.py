"""What the commands share."""

import click
import psycopg

from app import logs
from app.store.connections import connect
from config.settings import Settings, SettingsError, load_settings


def settings() -> Settings:
    """The settings, or one message and exit code 1."""
    try:
        loaded = load_settings()
    except SettingsError as error:
        raise click.ClickException(f"{error}\nSee .env.example for what each means.") from error
    logs.configure(loaded.log_level)
    return loaded


def database(loaded: Settings) -> psycopg.Connection:
    """A connection, or one message and exit code 1."""
    try:
        return connect(loaded.database_url, "command")
    except psycopg.Error as error:
        raise click.ClickException(f"Postgres does not answer at DATABASE_URL: {error}") from error
