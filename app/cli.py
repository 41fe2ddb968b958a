"""The list of commands. Each reads the settings itself, when it runs."""

from flask import Flask

from app.dev.commands import dev, sign
from app.health.commands import check_, status
from app.merchant.commands import report
from app.merchant.experiment_commands import experiment
from app.privacy.commands import privacy
from app.rejected.commands import rejected
from app.store.commands import db
from app.worker.commands import maintain_, worker


def init_app(app: Flask) -> None:
    db.add_command(maintain_)
    for command in (db, worker, report, experiment, rejected, privacy, status, check_, dev, sign):
        app.cli.add_command(command)
