"""What the commands share."""

import time
from collections import Counter
from collections.abc import Callable

import click

from config import logs
from config.settings import Settings, SettingsError, load_settings

_TELL_EVERY = 1.0  # s
ID = click.IntRange(1, 2**63 - 1)
LIMIT = click.IntRange(1, 2**31 - 1)


def settings() -> Settings:
    """The settings, or one message and exit code 1."""
    try:
        loaded = load_settings()
    except SettingsError as error:
        raise click.ClickException(f"{error}\nSee .env.example for what each means.") from error
    logs.configure(loaded.log_level, loaded.log_format)
    return loaded


def progress() -> Callable[[str, int], None]:
    """A function that counts rows done, by kind, and from time to time says how many."""
    rows: Counter[str] = Counter()
    told_at = time.monotonic()

    def step(what: str, number: int) -> None:
        nonlocal told_at
        rows[what] += number
        if time.monotonic() - told_at > _TELL_EVERY:
            told_at = time.monotonic()
            click.echo(f"{what}: {rows[what]} rows so far", err=True)

    return step
