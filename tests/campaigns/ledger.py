"""Clients that write down each id before they send it and each success after they hear it."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from contextlib import suppress

from tests.calls import CONTEXT, EVENT, PATH, query

SHOPS = [f"shop-{number}.myshopify.com" for number in range(4)]


class Ledger:
    def __init__(self, port, seed):
        self._port = port
        self._seed = seed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = []
        self.sent, self.acknowledged = set(), set()
        self.replies, self.faults = Counter(), Counter()
        self.seconds = []

    def start(self, clients=6):
        for number in range(clients):
            rng = random.Random(f"{self._seed} {number}")
            thread = threading.Thread(target=self._client, args=[number, rng], daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _client(self, number, rng):
        counter, repeated = 0, []
        while not self._stop.is_set():
            shop = rng.choice(SHOPS)
            ids = [f"{number}-{(counter := counter + 1)}" for _ in range(rng.randint(1, 10))]
            ids += [id_ for known, id_ in repeated if known == shop and rng.random() < 0.05]
            repeated = [*repeated[-20:], *((shop, id_) for id_ in ids[:2])]
            for _ in range(rng.choice([1, 3])):  # who hears nothing sends again, or gives up
                if self.send(shop, ids, has_invalid=rng.random() < 0.1):
                    break
            time.sleep(rng.random() * 0.02)

    def send(self, shop, ids, *, has_invalid=False):
        """Whether the batch was acknowledged."""
        visitor = CONTEXT | {"genlook_client_id": ids[0]}  # one alone would be over the limit
        events = [EVENT | {"$insert_id": id_} for id_ in ids]
        if has_invalid:
            events.append(EVENT | {"$insert_id": "never", "timestamp": "never"})
        with self._lock:
            self.sent |= {(shop, id_) for id_ in ids}
        started = time.monotonic()
        try:
            status, reply = self._post(shop, {"events": events, "context": visitor})
        except (OSError, http.client.HTTPException) as error:
            with self._lock:
                self.replies[type(error).__name__] += 1
            return False
        with self._lock:
            self.seconds.append(time.monotonic() - started)
            self.replies[f"{status} {reply.get('code', 'success')}"] += 1
            if reply["success"]:
                self.acknowledged |= {(shop, id_) for id_ in ids}
        return reply["success"]

    def _post(self, shop, document):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
        try:
            connection.request("POST", f"{PATH}?{query(shop=shop)}", json.dumps(document))
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            with suppress(OSError):
                connection.close()

    def percentile(self, share):
        return sorted(self.seconds)[int(len(self.seconds) * share)] if self.seconds else 0.0

    def report(self, stored):
        rows = Counter(stored)
        return {
            "sent": len(self.sent),
            "acknowledged": len(self.acknowledged),
            "stored": len(rows),
            "faults": dict(self.faults),
            "lost": len(self.acknowledged - rows.keys()),
            "twice": sum(number > 1 for number in rows.values()),
            "strangers": len(rows.keys() - self.sent),
            "replies": dict(self.replies),
            "p50_ms": round(self.percentile(0.5) * 1000, 1),
            "p99_ms": round(self.percentile(0.99) * 1000, 1),
            "max_ms": round(max(self.seconds, default=0.0) * 1000, 1),
        }

    def is_settled(self, system):
        return self.acknowledged <= set(system.stored())
