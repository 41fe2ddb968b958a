// genlook.track(event, properties), genlook.set({product_id, variant_id, widget_enabled}): see README
(() => {
  "use strict";
  const VERSION = "1.0.0";
  const MAX_EVENTS = 50; // to a batch
  const MAX_WAITING = 1000; // events; the oldest go first
  const KEEPALIVE = 60000; // bytes; the browser's own limit is 64 KiB for all at once
  const PAUSE = 1000; // ms for more events to share a batch with
  const TIMEOUT = 20000; // ms for a reply
  const LONGEST = 300000; // ms between retries
  const IDLE = 1800000; // ms after which a session ends
  const ABANDONED = 3600000; // ms of silence after which a page is taken for dead
  const HALVE = -1;
  const PREFIX = "genlook:q:";
  const CLIENT = "genlook_client_id", SESSION = "genlook_session";

  const quietly = (action) => (...given) => {
    try { return action(...given); } catch (_) { return undefined; }
  };
  const copy = (value) => JSON.parse(JSON.stringify(value));
  const read = quietly((key) => JSON.parse(localStorage.getItem(key)));
  const save = quietly((key, text) => { localStorage.setItem(key, text); return true; });
  const remove = quietly((key) => localStorage.removeItem(key));
  const uuid = () => quietly(() => crypto.randomUUID())() ||
    "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
      (c ^ ((Math.random() * 16) >> (c / 4))).toString(16)); // a page without https
  const hidden = () => document.visibilityState === "hidden";
  const idsOf = (events) => new Set(events.map((event) => event.$insert_id));
  const bytes = (value) => new Blob([JSON.stringify(value)]).size;

  const script = document.currentScript || document.querySelector('script[src*="/public/tracker.js"]');
  const data = (script && script.dataset) || {};
  // Bundled into another script, the address is that script's and says nothing.
  const home = /.*\/public\/(?=tracker\.js)/.exec(script && script.src);
  const endpoint = (home || location.origin + "/apps/proxy_genlook-x/public/") + "tracking/events";
  const page = {
    product_id: data.productId, variant_id: data.variantId, widget_enabled: true,
    lib_version: data.libVersion || VERSION,
  };

  const pageview = uuid();
  const own = PREFIX + pageview;
  const memory = {}; // where there is no storage
  let early = []; // [event, where], before anybody has said yes or no
  let batches = []; // [{context, events}], as kept under `own`
  let tail, tailKey; // the last batch, and its context as text
  let timer, due, failures = 0, resting = 0;
  let open = false, asked = false, sending = false, changed = false;
  let stored = false; // what waits is in localStorage
  let left = false; // the page is hidden or gone: whoever comes next may take what waits

  // undefined while the consent API is not there yet
  const allowed = quietly(() => window.Shopify.customerPrivacy.analyticsProcessingAllowed());

  const keptId = quietly(() => localStorage.getItem(CLIENT));
  // Without storage nobody could be told apart, nor be in an arm: the session has to do.
  const clientId = () => {
    const kept = keptId(), id = kept || uuid();
    return kept || save(CLIENT, id) ? id : undefined;
  };
  const sessionId = () => {
    const at = Date.now();
    let kept = read(SESSION) || memory.session;
    if (!kept || !(at - kept.at < IDLE)) kept = { id: uuid() };
    if (!(at - kept.at < IDLE / 100)) {
      memory.session = { id: kept.id, at };
      save(SESSION, JSON.stringify(memory.session));
    }
    return kept.id;
  };
  const place = () => ({
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
    $pageview_id: pageview,
    genlook_product_id: page.product_id,
    genlook_variant_id: page.variant_id,
    genlook_lib_version: page.lib_version,
    genlook_widget_enabled: page.widget_enabled,
  });

  const store = () => {
    changed = false;
    if (!batches.length) remove(own);
    stored = batches.length &&
      save(own, JSON.stringify({ left: left || hidden(), at: Date.now(), batches }));
  };
  const keep = () => { // once for all that a task adds
    if (!changed) Promise.resolve().then(store);
    changed = true;
  };

  const add = (event, where) => {
    back();
    const context = Object.assign(where, { $session_id: sessionId(), genlook_client_id: clientId() });
    const key = JSON.stringify(context);
    const last = batches[batches.length - 1];
    if (last && last === tail && key === tailKey && last.events.length < MAX_EVENTS) last.events.push(event);
    else batches.push(tail = { context, events: [event] });
    tailKey = key;
    limit();
  };
  const limit = () => {
    const waiting = batches.reduce((sum, batch) => sum + batch.events.length, 0);
    if (waiting > MAX_WAITING) batches.shift();
    keep();
    plan(waiting >= MAX_EVENTS ? 0 : PAUSE);
  };

  const plan = (delay) => {
    const at = Math.max(Date.now() + delay, resting);
    if (timer && due <= at) return;
    clearTimeout(timer);
    due = at;
    timer = setTimeout(flush, at - Date.now());
  };

  // true: taken, or useless to everyone; HALVE: refused without a reason; else ms to wait, 0: the usual
  const settle = async (reply) => {
    if (reply.ok) return (await reply.json()).success === true || 0;
    if (reply.status === 429) {
      const wait = Number(reply.headers.get("Retry-After"));
      return 1000 * (wait >= 1 ? Math.min(wait, 3600) : 60);
    }
    if (reply.status !== 400 && reply.status !== 413) return 0;
    return /"VALIDATION_FAILED"/.test(await reply.text()) || HALVE;
  };
  const post = async (batch, keepalive) => {
    let late;
    try {
      const stop = new AbortController();
      late = setTimeout(() => stop.abort(), TIMEOUT);
      return await settle(await fetch(endpoint, {
        method: "POST", body: JSON.stringify(batch), keepalive, credentials: "same-origin",
        headers: { "Content-Type": "application/json" }, signal: stop.signal,
      }));
    } catch (_) { // offline, late, or not our reply
      return 0;
    } finally {
      clearTimeout(late);
    }
  };
  const yielded = () => { // another page has taken what waited
    if (left && stored && !read(own)) batches = [];
  };
  const done = (ids) => {
    yielded();
    for (const batch of batches) batch.events = batch.events.filter((event) => !ids.has(event.$insert_id));
    batches = batches.filter((batch) => batch.events.length);
    keep();
  };

  const flush = async () => {
    timer = 0;
    if (sending || left || !batches.length || !allowed()) return;
    sending = true;
    const batch = batches[0], ids = idsOf(batch.events);
    const result = await post(batch, false);
    sending = false;
    if (result === HALVE && ids.size > 1) {
      const rest = batch.events.splice(batch.events.length / 2);
      if (batches[0] === batch) batches.splice(1, 0, { context: batch.context, events: rest });
    } else if (result === true || result === HALVE) {
      failures = resting = 0;
      done(ids);
    } else {
      const pause = result || Math.min(LONGEST, PAUSE * 2 ** failures++);
      resting = Date.now() + pause * (1 + Math.random() / 4);
    }
    keep();
    if (batches.length && !left) plan(0);
  };

  // Replies may come too late, so what is sent stays stored, and the next page sends it again.
  const leave = quietly(() => {
    if (left || !allowed()) return;
    left = true;
    clearTimeout(timer);
    timer = 0;
    store();
    if (stored && Date.now() < resting) return;
    let room = KEEPALIVE;
    for (const { context, events } of batches) {
      room -= bytes({ context, events: [] });
      const some = events.filter((event) => room > 0 && (room -= bytes(event) + 1) > 0);
      const ids = idsOf(some);
      if (some.length) post({ context, events: some }, true).then((result) => result === true && done(ids));
    }
  });
  const back = () => {
    if (!left) return;
    yielded();
    left = false;
    keep();
    if (batches.length) plan(0);
  };

  // What closed pages have left behind
  const inherit = quietly(() => {
    const known = new Set();
    for (const batch of batches) batch.events.forEach((event) => known.add(event.$insert_id));
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(PREFIX) || key === own) continue;
      const entry = read(key) || {};
      if (!entry.left && Math.abs(Date.now() - entry.at) < ABANDONED) continue;
      remove(key);
      quietly(() => entry.batches.forEach(({ context, events }) => {
        events = events.filter((event) => event.$insert_id && !known.has(event.$insert_id));
        events.forEach((event) => known.add(event.$insert_id));
        if (context && events.length) batches.unshift({ context, events });
        limit();
      }))();
    }
    if (batches.length) plan(0);
  });

  const decide = quietly(() => {
    const yes = allowed();
    if (yes) {
      open = true;
      inherit();
      early.splice(0).forEach((given) => add(...given));
    } else if (yes === false) {
      open = false;
      batches = [];
      memory.session = 0;
      quietly(() => Object.keys(localStorage).forEach((key) =>
        (key === CLIENT || key === SESSION || key.startsWith(PREFIX)) && remove(key)))();
    }
  });
  // Shopify's own script, which brings the API, may load after this one.
  const ask = quietly(() => {
    if (allowed() === undefined && !asked && window.Shopify && window.Shopify.loadFeatures) {
      asked = true;
      window.Shopify.loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], () => decide());
    }
    decide();
  });
  const listen = () => {
    ask();
    if (early.length && allowed() === undefined) setTimeout(listen, PAUSE);
  };

  const track = quietly((event, properties) => {
    const one = copy({ event, properties: properties || {}, timestamp: new Date().toISOString(), $insert_id: uuid() });
    if (!open) decide();
    if (open && allowed()) add(one, place());
    else if (early.length < MAX_EVENTS && early.push([one, place()]) === 1) listen();
  });

  quietly(() => {
    document.addEventListener("visitorConsentCollected", () => {
      if (allowed() === false) early = [];
      decide();
    });
    addEventListener("pagehide", leave);
    addEventListener("pageshow", quietly(back));
    document.addEventListener("visibilitychange", quietly(() => hidden() ? leave() : back()));
    addEventListener("online", quietly(() => { resting = 0; back(); plan(0); }));
    addEventListener("load", ask);
    // Shopify's API may come late: an id that is kept stands for the yes of before.
    const arm = quietly(() => (allowed() || (allowed() !== false && keptId())) && window.genlookArm(clientId));
    window.genlook = { track, arm: () => arm() || null, set: quietly((values) => Object.assign(page, copy(values))) };
    ask();
  })();
})();
