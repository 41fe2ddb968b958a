"""The privacy work of a process of its own: the worker, a command."""

from pathlib import Path

from app.counts.rollups import mark_dirty
from app.intake.redis_client import worker_client
from app.intake.spool import Spool
from app.privacy.waiting import Journals
from app.privacy.work import Work
from config.settings import Settings


def work(settings: Settings) -> Work:
    """Connects at its first use."""
    journals = Journals(
        worker_client(settings),
        Spool(Path(settings.spool_dir), max_bytes=settings.spool_max_bytes),
        partitions=settings.stream_partitions,
    )
    return Work(journals, recount=mark_dirty)
