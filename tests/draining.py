"""The worker's steps without its process: store all that the streams hold."""

import threading
from contextlib import closing

from app.intake import keys
from app.intake.nodes import Nodes
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
    stopping = threading.Event()
    stopping.set()  # no lingering
    with closing(Nodes(worker_client(settings))) as nodes, closing(storing):
        nodes.refresh()
        partitions = {*range(settings.stream_partitions), *nodes.partitions()}
        for node, those in nodes.by_node(partitions).items():
            streams = [keys.stream(partition) for partition in those]
            consumer = Consumer(
                node,
                parse,
                storing.store,
                streams=lambda streams=streams: streams,
                name=name,
                is_cluster=lambda: nodes.is_cluster,
            )
            consumer.join()
            while sum(node.xlen(stream) for stream in streams) and consumer.run_once(stopping):
                pass
