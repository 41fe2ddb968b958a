"""Who a visitor is and what they are grouped by, as SQL over `events` e and `batches` b."""

# genlook_client_id, or the session where it is missing; null where both are.
VISITOR = "coalesce(nullif(b.client_id, ''), nullif(b.session_id, ''))"
VISITOR_KEY = f"md5({VISITOR})::uuid"

PRODUCT = "left(coalesce(nullif(b.product_id, ''), e.properties->>'product_id'), 200)"
VERSION = "left(b.lib_version, 200)"
LANGUAGE = "left(lower(split_part(b.context->>'$browser_language', '-', 1)), 16)"
DEVICE = "b.device_class"
