// genlook.track, set, consent, arm: see README. Shops load the minified form (tests/storefront).
(() => {
  const calls = window.genlook; // [["track", …], …] of scripts that ran before this one
  if (calls?.track) return; // loaded twice
  const VERSION = "1.1.0";
  const MAX_EVENTS = 50; // to a batch
  const MAX_WAITING = 1000; // events; the oldest go first
  const MAX_STORED = 262144; // bytes, of all pages of the shop together
  const KEEPALIVE = 60000; // bytes; the browser's own limit is 64 KiB for all at once
  const MAX_ADDRESS = 2000; // characters; a context has 32 KiB
  const DEEPEST = 10; // levels of properties, as the server allows
  const PAUSE = 1000; // ms for more events to share a batch with
  const TIMEOUT = 20000; // ms for a reply
  const MINUTE = 60000, DAY = 86400000; // ms
  const LONGEST = 5 * MINUTE; // between retries
  const IDLE = 30 * MINUTE; // after which a session ends
  const ABANDONED = 3 * MINUTE; // of silence after which a page is taken for dead
  const OLDEST = 7 * DAY; // that an event may wait
  const BLOCKED = 3 * DAY; // without any success, after which nothing is kept
  const PREFIX = "genlook:q:", CLIENT = "genlook_client_id", STATE = "genlook_session";

  const attempt = (action) => {
    try { return action(); } catch { /* the page goes on, and the value is undefined */ }
  };
  const quietly = (action) => (...given) => attempt(() => action(...given));
  const now = Date.now;
  const recent = (at, ms) => Math.abs(now() - at) < ms; // a clock may have run ahead
  // Spelled out, for pages with a toISOString of their own
  const iso = (date) => "FullYear-Month-DateTHours:Minutes:Seconds.MillisecondsZ".replace(/FullYear|[A-Z][a-z]+/g, (part) =>
    `${date["getUTC" + part]() + (part === "Month")}`.padStart(part[2] === "l" ? 3 : 2, 0));
  // JSON that no page's toJSON can bend. What has no place in it (BigInt, a circle) is left out.
  const json = (value, above = []) => {
    if (value instanceof Date) value = iso(value);
    if (!value || typeof value !== "object") return JSON.stringify(value);
    if (above.includes(value) || above[DEEPEST]) return undefined;
    const part = (key) => attempt(() => json(value[key], [...above, value]));
    if (Array.isArray(value)) return `[${[...value].map((_, index) => part(index) || "null")}]`;
    return `{${Object.keys(value).flatMap((key) => {
      const text = part(key);
      return text ? json(key) + ":" + text : [];
    })}}`;
  };
  const get = quietly((key) => localStorage[key]);
  const read = quietly((key) => JSON.parse(get(key)));
  // Some forget in silence
  const save = quietly((key, text) => (localStorage[key] = text) === localStorage[key]);
  const remove = quietly((key) => delete localStorage[key]);
  const uuid = () => attempt(() => crypto.randomUUID()) || Math.random() + ""; // without https
  const shop = () => window.Shopify || {};
  const size = (text) => new TextEncoder().encode(text).length;
  // Captured at the window, for those of the document too
  const on = (name, action) => addEventListener(name, quietly(action), true);
  // A page that is rendered in advance may never be seen.
  const onceSeen = (action) => document.prerendering ? on("prerenderingchange", action) : action();

  const { dataset: data, src } = document.currentScript ||
    document.querySelector('[data-endpoint],[src*="/public/tracker.js"]') || { dataset: {} };
  const page = { // as the context names it
    genlook_endpoint: data.endpoint || (src?.includes("/public/tracker.js") && new URL("tracking/events", src)),
    genlook_product_id: data.productId,
    genlook_variant_id: data.variantId,
    genlook_lib_version: data.libVersion || VERSION,
  };

  const own = PREFIX + uuid();
  let memory = {}; // the state, where there is no storage
  let early = []; // what to do at the shopper's yes
  let queue = []; // [context, event, the event's bytes], newest first, as the JSON that is sent
  let pageview, path; // another id for each path
  let said, open; // consent: genlook.consent(), whether the last answer was yes
  let timer, due = Infinity; // of the next request
  let resting = 0; // until when nothing is tried again
  let most = MAX_EVENTS; // to the next batch
  let sending, changed;
  let stored; // what waits is in localStorage
  let left = false; // the page is hidden or gone: whoever comes next may take what waits

  // {id, at} of the session, the client id `made` here, `until` when the server asked to wait, `since`
  // when nothing has succeeded
  const state = () => read(STATE) || memory;
  const note = (changes) => {
    memory = { ...state(), ...changes };
    if (open) save(STATE, json(memory)); // a reply may come after a no
  };
  const until = () => recent(state().until, DAY) && state().until;

  // true, false, or undefined: not decided, or nobody there to ask
  const consent = () => {
    const { customerPrivacy: api, loadFeatures } = shop();
    const allowed = attempt(() => api.analyticsProcessingAllowed());
    const answer = attempt(() => api.currentVisitorConsent().analytics);
    const otherwise = said || data.consent === "granted" || undefined;
    if (said === false || answer === "no") return false;
    if (allowed !== undefined) return allowed || (answer === "" && otherwise);
    return navigator.globalPrivacyControl ? (loadFeatures ? undefined : false) : otherwise;
  };

  // Without storage nobody could be told apart, nor be in an arm: the session has to do.
  const clientId = () => {
    const made = uuid();
    return get(CLIENT) || (note({ made }), save(CLIENT, made) && made);
  };

  // Secrets in addresses: by the parameter's name, and e-mail addresses, UUIDs, tokens
  const SECRET = /^(?!\w+:\/\/[^@]*$|utm_\w+=|variant=).*?((pass|pwd|token|secret|auth|sess|sig|mail|phone|key|code)[^=&]{0,40}(=|%3d)|@|%40|[\da-f]{8}-[\da-f]{4}-|(?=[a-z_]{0,15}\d)\w{16})/i;
  const clean = (text) => ("keepUrl" in data ? text
    : text.replace(/#.*/, "").replace(/^\w+:\/\/[^/?]*|([^/?&=]+=)[^&]*|[^/?&]+/g, (part, name = "") =>
      SECRET.test(part) ? name + "redacted" : part)
  ).slice(0, MAX_ADDRESS);
  const place = () => {
    if (path !== (path = location.pathname)) pageview = uuid();
    return {
      $current_url: clean(location.href),
      $pathname: clean(path),
      $host: location.host,
      $referrer: clean(document.referrer),
      $referring_domain: document.referrer.split("/")[2],
      $raw_user_agent: navigator.userAgent,
      $browser_language: navigator.language,
      $timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      $screen_width: screen.width,
      $screen_height: screen.height,
      $viewport_width: innerWidth,
      $viewport_height: innerHeight,
      $pageview_id: pageview,
      ...page,
      genlook_endpoint: undefined, // no part of it
      webdriver: navigator.webdriver || undefined,
      designMode: shop().designMode || undefined,
    };
  };

  // Of what waits, the newest that fits. What does not makes way for what does.
  const fitting = (room) => {
    const contexts = new Set();
    return queue.filter(([context, , bytes]) => {
      const cost = bytes + (contexts.has(context) ? 1 : size(context) + 30);
      return cost <= room && (room -= cost, contexts.add(context));
    });
  };
  // [context, events] of what goes into one request
  const groups = (pairs) => {
    const events = {};
    for (const [context, event] of pairs) (events[context] ||= []).push(event);
    return Object.entries(events);
  };
  const body = ([context, events]) => `{"context":${context},"events":[${events}]}`;
  const store = () => {
    changed = stored = false;
    const oldest = iso(new Date(now() - OLDEST));
    queue = queue.filter(([, event]) => event.slice(14) > oldest).slice(0, MAX_WAITING);
    let room = now() - state().since > BLOCKED ? 0 : MAX_STORED - 99;
    remove(own);
    queues().forEach((key) => room -= size(get(key)));
    for (let some; !stored && (some = fitting(room))[0]; room /= 2) {
      stored = save(own, `{"left":${left || document.hidden},"at":${now()},"batches":[${groups(some).map(body)}]}`);
    }
  };
  const keep = () => { // once for all that a task adds
    if (!changed) queueMicrotask(store);
    changed = true;
  };

  const plan = (delay) => {
    if (!queue[0]) return;
    keep();
    due = Math.max(Math.min(due, now() + delay), resting, until());
    clearTimeout(timer);
    timer = setTimeout(flush, due - now());
  };
  const post = async (group, keepalive) => {
    const [, sent] = group;
    let text, refused;
    try {
      const reply = await fetch(page.genlook_endpoint, { method: "POST", body: body(group), keepalive, signal: AbortSignal.timeout?.(TIMEOUT) });
      const after = reply.headers.get("Retry-After");
      if (after) note({ until: Math.min(now() + DAY, after > 0 ? now() + after * 1000 : Date.parse(after)) });
      refused = /400|413/.test(reply.status);
      text = await reply.text();
    } catch { /* offline, late or blocked */ }
    if (/^{"success": ?(true|.*VALIDATION)/.test(text) || (refused && !sent[1])) { // taken, or useless to everyone
      most = MAX_EVENTS;
      note({ since: undefined });
      queue = queue.filter(([, event]) => !sent.includes(event));
      keep();
    } else if (refused) {
      most = sent.length >> 1;
    } else {
      note({ since: state().since || now() });
      // As long again as nothing has succeeded, so that pauses double
      resting = now() + Math.min(LONGEST, PAUSE + now() - state().since);
    }
  };
  const yielded = () => { // another page has taken what waited, or the shopper has said no there
    if (stored && !get(own)) queue = [];
  };

  const flush = async () => {
    due = Infinity;
    if (sending || left || !page.genlook_endpoint || !decide() || !queue[0]) return;
    sending = true;
    await post(groups(queue.slice(-most))[0]);
    sending = false;
    plan(0);
  };

  // Replies may come too late, so what is sent stays stored, and the next page sends it again.
  const leave = () => {
    if (left || !decide()) return;
    left = true;
    store();
    if (!page.genlook_endpoint || until() > now() || (stored && resting > now())) return;
    groups(fitting(KEEPALIVE).slice(0, MAX_EVENTS)).forEach((group) => post(group, true));
  };
  const back = () => {
    if (!left) return;
    yielded();
    left = false;
    inherit(); // what the page in between could not send, for one
  };

  const queues = () => attempt(() => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) || [];
  // What closed and crashed pages have left behind
  const inherit = () => {
    queues().forEach(quietly((key) => {
      const { left, at, batches } = read(key) || {};
      if (key === own || (!left && recent(at, ABANDONED))) return;
      remove(key);
      batches.forEach(({ context, events }) => events.forEach((event) => {
        const text = json(event);
        if (context && event.$insert_id) queue.push([json(context), text, size(text)]);
      }));
    }));
    plan(0);
  };

  const forget = () => {
    early = [];
    queue = [];
    open = false;
    if (get(CLIENT) === state().made) remove(CLIENT);
    memory = {};
    queues().forEach(remove);
    remove(STATE);
  };
  const decide = () => {
    const yes = consent();
    if (yes === false) forget();
    if (yes && !open) {
      open = true;
      inherit();
    }
    if (yes) early.splice(0).forEach((action) => action());
    return yes;
  };
  // Shopify's own script, which brings the API, may load after this one.
  const ask = quietly(() => {
    if (early[0]) setTimeout(ask, PAUSE);
    decide();
    if (!shop().customerPrivacy) shop().loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], decide);
  });

  const track = quietly((event, properties) => {
    const given = json({ event, properties }).slice(1); // as it is now
    onceSeen(() => {
      const where = place();
      const one = `{"timestamp":"${iso(new Date())}","$insert_id":"${uuid()}",${given}`;
      if (!early[MAX_EVENTS - 1]) early.push(() => {
        back();
        let { id, at } = state();
        if (!recent(at, IDLE)) id = uuid();
        if (!recent(at, MINUTE)) note({ id, at: now() });
        queue.unshift([json({ ...where, $session_id: id, [CLIENT]: clientId() }), one, size(one)]);
        plan(queue[MAX_EVENTS - 1] ? 0 : PAUSE);
      });
      decide();
      if (early.length === 1) ask();
    });
  });

  // The experiment: "widget", "holdout", or null. Shopify's API may come late: an id that is kept
  // stands for the yes of before.
  const arm = () => attempt(() => (consent() ?? get(CLIENT)) && genlookArm(clientId)) || null;

  attempt(() => {
    const api = window.genlook = {
      track, arm,
      set: quietly((values) => Object.entries(values).forEach(([name, value]) => page["genlook_" + name] = value ?? undefined)),
      consent: quietly((yes) => { said = yes === true; onceSeen(decide); }),
      push: quietly(([name, ...given]) => api[name](...given)),
    };
    calls?.forEach?.(api.push);
    if ("pageView" in data) track("product_page:page_view", { product_title: data.productTitle });
    onceSeen(() => {
      on("visitorConsentCollected", decide);
      on("visibilitychange", () => document.hidden ? leave() : back());
      on("pagehide", leave);
      on("pageshow", (event) => { if (event.persisted) path = 0; back(); });
      on("storage", yielded);
      on("online", () => { resting = 0; back(); plan(0); });
      setInterval(() => !left && decide() && inherit(), MINUTE);
      if (!early[0]) ask();
    });
  });
})();
