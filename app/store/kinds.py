"""Numbers that stand for the names of events, and for properties that only repeat the product.

They are stored and never change; a name without one is stored as it is. `event_name` in SQL knows
the same (a new number takes a migration). `widget:email_collected` has none: an erasure by an
earlier release must find it.
"""

from app.batch.batch import BATCH_COLUMNS, EVENT_COLUMNS

KINDS = {
    b"widget:button_click": 1,
    b"widget:image_upload": 2,
    b"widget:generation_start": 3,
    b"widget:result_view": 4,
    b"widget:share_clicked": 5,
    b"widget:download_clicked": 6,
    b"widget:add_to_cart_clicked": 7,
    b"widget:add_to_cart_success": 8,
    b"product_page:page_view": 9,
    b"product_page:cart_add": 10,
}
OF_THE_PRODUCT = 100  # more than the kind: the properties are {"product_id": the batch's product}

_NAME, _PROPERTIES = map(EVENT_COLUMNS.index, ("event", "properties"))
_PRODUCT = BATCH_COLUMNS.index("product_id")


def product_as_properties(line: bytes) -> bytes | None:
    """The cell `properties` that says only what a batch's line does; None where none would."""
    product = line.split(b"\t", _PRODUCT + 1)[_PRODUCT]
    if b"\\" in product or b'"' in product:
        return None
    return b'{"product_id":"%b"}' % product


def with_kind(event: bytes, of_the_product: bytes | None) -> bytes:
    """An event's line with its kind behind it, in the place of its name."""
    cells = event.split(b"\t")
    kind = KINDS.get(cells[_NAME]) if len(cells) == len(EVENT_COLUMNS) else None
    if kind is None:
        return event + b"\t\\N"
    if cells[_PROPERTIES] == of_the_product:
        kind += OF_THE_PRODUCT
        cells[_PROPERTIES] = b"\\N"
    cells[_NAME] = b"\\N"
    return b"%b\t%d" % (b"\t".join(cells), kind)
