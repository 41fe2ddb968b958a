"""What the worker does daily for Postgres, and `flask db maintain` by hand."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from psycopg import Connection

from app.counts.rollups import forget_deleted
from app.privacy import pieces, requests
from app.store import rejected, retention
from app.store.partitions import create_partitions
from app.store.unused_contexts import delete_unused
from app.store.user_agents import remove_user_agents
from app.store.walks import Progress
from app.store.writers import WritersBusy
from app.webhooks import inbox
from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Days."""

    events: int
    rejected: int
    user_agents: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            events=settings.event_retention_days,
            rejected=settings.rejected_retention_days,
            user_agents=settings.user_agent_retention_days,
        )


def maintain(connection: Connection, days: Retention, progress: Progress) -> Counter[str]:
    """Make the partitions of the next months and delete what is too old; returns what was done.

    Safe to repeat and to run twice at once; each step is a short transaction.
    """
    now = datetime.now(UTC)
    cutoff = now - timedelta(days=days.events)
    done: Counter[str] = Counter()
    done["partitions made"] = len(create_partitions(connection, now.date()))
    done["partitions dropped"] = len(retention.drop_old_partitions(connection, cutoff))
    for table, rows in retention.delete_old_rows(connection, cutoff, progress).items():
        done[f"{table} deleted"] = rows
    done["visitors forgotten in reports"] = forget_deleted(
        connection, retention.partitions_begin(connection) or cutoff
    )
    done["user agents removed"] = remove_user_agents(connection, days.user_agents, progress)
    done["rejected_events deleted"] = rejected.delete_expired(connection, days.rejected)
    done["webhook_deliveries deleted"] = inbox.delete_expired(connection)
    done["exports deleted"] = requests.delete_expired(connection)
    done["pieces of exports deleted"] = pieces.delete_orphans(connection)
    with suppress(WritersBusy):  # the next time, then
        done["contexts deleted"] = delete_unused(connection)
    return +done
