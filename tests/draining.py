"""The worker's steps without its process: store all that the streams hold."""

import threading
from contextlib import closing

from app.intake import keys
from app.intake.redis_client import worker_client
from app.store.connections import WORKER_STATEMENT_TIMEOUT, connect
from app.store.writer import Writer
from app.worker.consumer import Consumer
from app.worker.storing import Storing, parse


def drain(settings, name="drain"):
    storing = Storing(
        lambda: connect(settings.database_url, "drain"),
        Writer(statement_timeout=WORKER_STATEMENT_TIMEOUT),
    )
    streams = [keys.stream(number) for number in range(settings.stream_partitions)]
    stopping = threading.Event()
    stopping.set()  # no lingering
    with worker_client(settings) as client, closing(storing):
        consumer = Consumer(client, parse, storing.store, streams=streams, name=name)
        consumer.join_groups()
        consumer.store_pending()
        while sum(client.xlen(stream) for stream in streams) and consumer.run_once(stopping):
            pass
