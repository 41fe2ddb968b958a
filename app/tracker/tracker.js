/* Genlook tracker. genlook.track(event, properties), genlook.set({product_id, variant_id,
   widget_enabled}). Sends nothing and keeps nothing before Shopify's customer privacy API allows
   analytics. Never throws. An event keeps its id over all retries, so that sending it again is
   safe; what could not be sent waits in localStorage for the next page. */
(() => {
  "use strict";
  const VERSION = "1.0.0";
  const MAX_EVENTS = 50; // to a batch
  const MAX_WAITING = 1000; // events kept
  const KEEPALIVE = 60000; // bytes; the browser's own limit is 64 KiB for all at once
  const PAUSE = 1000; // ms for more events to share a batch with
  const LONGEST = 300000; // ms between retries
  const IDLE = 1800000; // ms after which a session ends
  const HALVE = -1;
  const PREFIX = "genlook:q:";

  const script = document.currentScript;
  const data = (script && script.dataset) || {};
  const endpoint = new URL("tracking/events", script ? script.src : location.href).href;
  const page = {
    product_id: data.productId, variant_id: data.variantId, widget_enabled: true,
    lib_version: data.libVersion || VERSION,
  };

  const quietly = (action) => (...given) => {
    try { return action(...given); } catch (_) { return undefined; }
  };
  const uuid = () =>
    (crypto.randomUUID && crypto.randomUUID()) ||
    "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
      (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));
  const read = quietly((key) => JSON.parse(localStorage.getItem(key)));
  const write = quietly((key, value) => localStorage.setItem(key, JSON.stringify(value)));

  const pageview = uuid();
  const own = PREFIX + pageview;
  const memory = {}; // where there is no storage
  let early = []; // before anybody has said yes or no
  let batches = []; // [{context, events}], as kept under `own`
  let timer, failures = 0, sending = false, resting = 0;

  const allowed = quietly(() => window.Shopify.customerPrivacy.analyticsProcessingAllowed());

  const clientId = () => {
    memory.client = read("genlook_client_id") || memory.client || uuid();
    write("genlook_client_id", memory.client);
    return memory.client;
  };
  const sessionId = () => {
    const now = Date.now();
    const kept = read("genlook_session") || memory.session;
    memory.session = kept && now - kept.at < IDLE ? { id: kept.id, at: now } : { id: uuid(), at: now };
    write("genlook_session", memory.session);
    return memory.session.id;
  };
  const context = () => ({
    $current_url: location.href,
    $pathname: location.pathname,
    $host: location.host,
    $referrer: document.referrer,
    $referring_domain: quietly(() => new URL(document.referrer).host)() || "",
    $raw_user_agent: navigator.userAgent,
    $browser_language: navigator.language,
    $timezone: quietly(() => Intl.DateTimeFormat().resolvedOptions().timeZone)(),
    $screen_width: screen.width,
    $screen_height: screen.height,
    $viewport_width: innerWidth,
    $viewport_height: innerHeight,
    $session_id: sessionId(),
    $pageview_id: pageview,
    genlook_client_id: clientId(),
    genlook_product_id: page.product_id,
    genlook_variant_id: page.variant_id,
    genlook_lib_version: page.lib_version,
    genlook_widget_enabled: page.widget_enabled,
  });

  const waiting = () => batches.reduce((sum, batch) => sum + batch.events.length, 0);
  const keep = () => (batches.length ? write(own, batches) : quietly(() => localStorage.removeItem(own))());

  const add = (event) => {
    const now = context();
    const last = batches[batches.length - 1];
    if (last && last.events.length < MAX_EVENTS && JSON.stringify(last.context) === JSON.stringify(now))
      last.events.push(event);
    else batches.push({ context: now, events: [event] });
    if (waiting() > MAX_WAITING) batches.shift();
    keep();
    plan(waiting() >= MAX_EVENTS ? 0 : PAUSE);
  };

  const plan = (delay) => {
    clearTimeout(timer);
    timer = setTimeout(flush, Math.max(delay, resting - Date.now()));
  };

  const post = (batch, keepalive) =>
    fetch(endpoint, {
      method: "POST", body: JSON.stringify(batch), keepalive, credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
    });

  const done = (batch, sent) => {
    batch.events = batch.events.filter((event) => !sent.has(event.$insert_id));
    batches = batches.filter((one) => one.events.length);
    keep();
  };

  /* How the reply is taken: true, the events are gone for good; HALVE, they are too many at once;
     else ms to wait, 0 for the usual. */
  const settle = async (reply) => {
    if (reply.ok) return (await reply.json()).success === true || 0;
    if (reply.status === 429) return 1000 * (Number(reply.headers.get("Retry-After")) || 60);
    if (reply.status === 413) return HALVE;
    return [400, 404, 405, 415].includes(reply.status) || 0; // it will never be taken
  };

  const flush = async () => {
    if (sending || !batches.length || !allowed()) return;
    sending = true;
    const batch = batches[0];
    const ids = new Set(batch.events.map((event) => event.$insert_id));
    let result = 0;
    try { result = await settle(await post(batch, false)); } catch (_) { /* offline */ }
    sending = false;
    if (result === HALVE && batch.events.length > 1) {
      const rest = batch.events.splice(batch.events.length / 2);
      batches.splice(1, 0, { context: batch.context, events: rest });
      keep();
      return plan(0);
    }
    if (result === true || result === HALVE) {
      failures = 0;
      resting = 0;
      done(batch, ids);
    } else {
      const pause = result || Math.min(LONGEST, PAUSE * 2 ** failures++);
      resting = Date.now() + pause * (0.75 + Math.random() / 2);
    }
    if (batches.length) plan(PAUSE * (failures && 1));
  };

  /* The page may be gone before the replies are here: what was sent stays kept, and is sent again
     from the next page. */
  const leave = quietly(() => {
    if (!allowed()) return;
    let room = KEEPALIVE;
    for (const batch of batches) {
      room -= new Blob([JSON.stringify(batch)]).size;
      if (room < 0) return;
      const ids = new Set(batch.events.map((event) => event.$insert_id));
      post(batch, true).then(settle).then((result) => result === true && done(batch, ids), () => {});
    }
  });

  /* What other pages have left behind. One of them may still be open and send it too: the ids tell. */
  const inherit = quietly(() => {
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(PREFIX) || key === own) continue;
      const left = read(key) || [];
      localStorage.removeItem(key);
      batches.push(...left.filter((batch) => batch.events && batch.events.length));
    }
    keep();
    if (batches.length) plan(0);
  });

  const decide = quietly(() => {
    if (!allowed()) return;
    inherit();
    early.splice(0).forEach(quietly(add));
  });

  const track = quietly((event, properties) => {
    const one = { event, properties: properties || {}, timestamp: new Date().toISOString(), $insert_id: uuid() };
    JSON.stringify(one); // what cannot be sent is not kept
    if (allowed()) add(one);
    else if (early.length < MAX_EVENTS) early.push(one);
  });

  quietly(() => {
    document.addEventListener("visitorConsentCollected", decide);
    addEventListener("pagehide", leave);
    document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && leave());
    addEventListener("online", () => { resting = 0; plan(0); });
    if (window.Shopify && window.Shopify.loadFeatures && !window.Shopify.customerPrivacy)
      window.Shopify.loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], decide);
    decide();
  })();
  window.genlook = { track, set: quietly((values) => Object.assign(page, values)) };
})();
