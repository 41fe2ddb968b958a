"""Batches as storefronts send them, and as those send them who mean harm. The same each time."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import orjson

from app.batch.batch import Context, Event
from app.intake.submission import Submission

STEPS = (
    "product_page:page_view",
    "widget:button_click",
    "widget:image_upload",
    "widget:generation_start",
    "widget:result_view",
    "widget:add_to_cart_clicked",
    "widget:add_to_cart_success",
)
_AGENT = (
    b'{"$raw_user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1'
    b'.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1","$browser_language":"%s",'
    b'"$screen_width":390,"$screen_height":844,"$host":"yourstore.com","$pathname":"/products/a"}'
)
_MORE = (
    b',"$referrer":"https://www.google.com/","$referring_domain":"www.google.com",'
    b'"$timezone":"Europe/Berlin","$viewport_width":390,"$viewport_height":%d,'
    b'"genlook_widget_enabled":true}'
)
_LANGUAGES = (b"en-US", b"en-US", b"de-DE", b"fr-FR")


def visits(number, *, batches, shops=1, seed=1, until=None, within=60, whole=False):
    """Ordinary visits: each a visitor who sends `batches` small batches within half a minute, with
    1.6 events each on average. All batches, in the order in which they are sent; the visits begin
    `within` so many seconds before `until`. `whole`: with all fields of the documented context,
    another screen for each visitor, a page view's id, and the product in each event's properties.
    """
    draw = random.Random(seed)
    until = until or datetime.now(UTC)
    sent = []
    for visit in range(number):
        client, session = (str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(2))
        columns = {
            "client_id": client,
            "session_id": session,
            "product_id": f"gid://shopify/Product/{1000 + draw.randrange(300)}",
            "lib_version": draw.choice(("2.1.0", "2.2.1")),
            "device_class": draw.choice(("mobile", "mobile", "desktop")),
            "current_url": "https://yourstore.com/products/tshirt",
        }
        properties = b"{}"
        context = Context(columns, _AGENT % draw.choice(_LANGUAGES))
        if whole:
            columns |= {"pageview_id": str(uuid.UUID(int=draw.getrandbits(128))),
                        "browser": "Safari", "os": "iOS"}  # fmt: skip
            height = draw.randrange(600, 700)
            context = Context(columns, context.rest[:-1] + _MORE % height)
            properties = b'{"product_id":"%b"}' % columns["product_id"].encode()
        at = until - timedelta(seconds=draw.uniform(0, within))
        step = 0
        for _ in range(batches):
            names = [STEPS[(step + n) % 7] for n in range(draw.choice((1, 1, 2, 2, 2)))]
            step += len(names)
            events = [_event(draw, name, at + n * timedelta(seconds=2), properties)
                      for n, name in enumerate(names)]  # fmt: skip
            shop = f"shop-{visit % shops}.myshopify.com"
            sent.append((at.timestamp(), len(sent), batch(shop, context, events)))
            at += timedelta(seconds=draw.uniform(2, 12))
    return [batch for _, _, batch in sorted(sent, key=lambda one: one[:2])]


def product_lover(number, *, shop="shop-0.myshopify.com", client="lover", seed=2, last=None):
    """One visitor with so many events, each on a product of its own."""
    draw = random.Random(seed)
    last = last or datetime.now(UTC)
    events = [
        _event(draw, STEPS[n % 7], last - timedelta(seconds=number - n),
               b'{"product_id":"%s-%d"}' % (client.encode(), n))
        for n in range(number)
    ]  # fmt: skip
    return _in_batches(shop, events, {"client_id": client})


def traveller(number, *, days, shop="shop-0.myshopify.com", client="traveller", seed=3):
    """One visitor whose events lie on so many days, each on a product of its own, and with a
    version, a device and a language of its own in each batch."""
    draw = random.Random(seed)
    now = datetime.now(UTC)
    some = draw.sample(range(days), min(days, number))
    events = [
        _event(draw, STEPS[0], now - timedelta(days=some[n % len(some)], seconds=n),
               b'{"product_id":"%s-%d"}' % (client.encode(), n))
        for n in range(number)
    ]  # fmt: skip
    columns = {"client_id": client, "lib_version": client, "device_class": "mobile"}
    return _in_batches(shop, events, columns, b'{"$browser_language":"%s"}' % client.encode())


def batch(shop, context, events):
    context.fields = orjson.loads(context.rest)
    return Submission.build(shop=shop, customer_id=None, received_at=datetime.now(UTC), size=1_000,
                            context=context, events=events, rejected=[]).batch  # fmt: skip


def _in_batches(shop, events, columns, rest=b"{}"):
    return [
        batch(shop, Context(columns, rest), events[start : start + 50])
        for start in range(0, len(events), 50)
    ]


def _event(draw, name, at, properties=b"{}"):
    return Event(name, str(uuid.UUID(int=draw.getrandbits(128))), at, properties, b"{}")
