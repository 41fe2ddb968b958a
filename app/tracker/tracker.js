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
  const HALVE = -1, LATER = 0;
  const PREFIX = "genlook:q:", CLIENT = "genlook_client_id", STATE = "genlook_session";

  const attempt = (action) => {
    try { return action(); } catch { /* the page goes on, and the value is undefined */ }
  };
  const quietly = (action) => (...given) => attempt(() => action(...given));
  const now = () => Date.now();
  // Spelled out, for pages with a toISOString of their own
  const iso = (date) => "FullYear-Month-Date Hours:Minutes:Seconds.Milliseconds".replace(/\w+/g, (part) =>
    `${date["getUTC" + part]() + (part === "Month")}`.padStart(part[2] === "l" ? 3 : 2, 0)).replace(" ", "T") + "Z";
  // JSON that no page's toJSON can bend. What has no place in it (BigInt, a circle) is left out.
  const json = (value, above = []) => {
    if (value instanceof Date) value = iso(value);
    if (!value || typeof value !== "object") return JSON.stringify(value);
    if (above.includes(value) || above[DEEPEST]) return undefined;
    const part = (one) => attempt(() => json(one(), [...above, value]));
    if (Array.isArray(value)) return `[${[...value].map((one) => part(() => one) || "null").join()}]`;
    return `{${Object.keys(value).flatMap((key) => {
      const text = part(() => value[key]);
      return text ? JSON.stringify(key) + ":" + text : [];
    }).join()}}`;
  };
  const read = quietly((key) => JSON.parse(localStorage.getItem(key)));
  const save = quietly((key, text) => { localStorage.setItem(key, text); return true; });
  const remove = quietly((key) => localStorage.removeItem(key));
  const uuid = () => attempt(() => crypto.randomUUID()) ||
    `${Math.random()}${Math.random()}`; // a page without https
  const shop = () => window.Shopify || {};
  const hidden = () => document.visibilityState === "hidden";
  const size = (text) => new TextEncoder().encode(text).length;
  const on = (target, name, action) => target.addEventListener(name, quietly(action));
  // A page that is rendered in advance may never be seen.
  const onceSeen = (action) => document.prerendering ? on(document, "prerenderingchange", action) : action();

  const script = document.currentScript ||
    document.querySelector('[data-endpoint],[src*="/public/tracker.js"]') || {};
  const data = script.dataset || {};
  const home = /.*\/public\/(?=tracker\.js)/.exec(script.src);
  const page = {
    endpoint: data.endpoint || (home && home + "tracking/events"),
    product_id: data.productId, variant_id: data.variantId, lib_version: data.libVersion || VERSION,
  };

  const own = PREFIX + uuid();
  let memory = {}; // the state, where there is no storage
  let early = []; // what to do at the shopper's yes
  let queue = []; // [context, event, the event's bytes], oldest first, as the JSON that is sent
  let pageview, path; // another id for each path
  let said, open; // consent: genlook.consent(), whether the last answer was yes
  let timer, due = Infinity, failures = 0, resting = 0, most = MAX_EVENTS, sending, changed;
  let stored; // what waits is in localStorage
  let left = false; // the page is hidden or gone: whoever comes next may take what waits

  // {id, at} of the session, the client id `made` here, `until` when the server asked to wait, `since`
  // when nothing has succeeded
  const state = () => read(STATE) || memory;
  const note = (changes) => {
    memory = { ...state(), ...changes };
    if (open) save(STATE, json(memory)); // a reply may come after a no
  };
  const paused = () => { // ms, or false
    const wait = state().until - now();
    return wait > 0 && wait < DAY && wait;
  };
  const blocked = () => now() - state().since > BLOCKED;

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

  const keptId = quietly(() => localStorage.getItem(CLIENT));
  // Without storage nobody could be told apart, nor be in an arm: the session has to do.
  const clientId = () => {
    const kept = keptId();
    if (kept) return kept;
    note({ made: uuid() });
    const { made } = state();
    return save(CLIENT, made) && made;
  };
  const sessionId = () => {
    let { id, at } = state();
    const since = (ms) => !(Math.abs(now() - at) < ms); // a clock may have run ahead
    if (since(IDLE)) id = uuid();
    if (since(MINUTE)) note({ id, at: now() });
    return id;
  };

  // Secrets in addresses: by the parameter's name, and e-mail addresses, UUIDs, tokens
  const SECRET = /(pass|pwd|token|secret|auth|sess|sig|mail|phone|key|code)[^=&]*(=|%3d)|@|%40|[\da-f]{8}-[\da-f]{4}-|(?=[a-z_]*\d)\w{16}/i;
  const clean = (text) => ("keepUrl" in data ? text
    : text.replace(/#.*/, "").replace(/\/\/[^/?]*@/, "//").replace(/^\w+:\/\/[^/?]*|[^/?&]+=[^&]*|[^/?&]+/g, (part) =>
      !/^(\w+:\/|utm_\w+=|variant=)/.test(part) && SECRET.test(part) ? part.replace(/(.*?=|).*/, "$1redacted") : part)
  ).slice(0, MAX_ADDRESS);
  const place = () => {
    if (path !== location.pathname) pageview = uuid();
    path = location.pathname;
    return {
      $current_url: clean(location.href),
      $pathname: clean(path),
      $host: location.host,
      $referrer: clean(document.referrer),
      $referring_domain: document.referrer.split("/")[2] || "",
      $raw_user_agent: navigator.userAgent,
      $browser_language: navigator.language,
      $timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      $screen_width: screen.width,
      $screen_height: screen.height,
      $viewport_width: innerWidth,
      $viewport_height: innerHeight,
      $pageview_id: pageview,
      genlook_product_id: page.product_id ?? undefined,
      genlook_variant_id: page.variant_id ?? undefined,
      genlook_lib_version: page.lib_version,
      genlook_widget_enabled: page.widget_enabled ?? undefined,
      webdriver: navigator.webdriver || undefined,
      designMode: shop().designMode || undefined,
    };
  };

  // Of what waits, the newest that fits. What does not makes way for what does.
  const fitting = (room, count) => {
    const contexts = new Set();
    return [...queue].reverse().filter(([context, event, bytes]) => {
      const cost = bytes + (contexts.has(context) ? 1 : size(context) + 30);
      if (!count || cost > room || now() - Date.parse(event.slice(14, 38)) > OLDEST) return false;
      count--;
      room -= cost;
      return contexts.add(context);
    }).reverse();
  };
  const bodies = (pairs) => {
    const events = {};
    for (const [context, event] of pairs) (events[context] = events[context] || []).push(event);
    return Object.keys(events).map((context) => [`{"context":${context},"events":[${events[context].join()}]}`, events[context]]);
  };
  const store = quietly(() => {
    changed = stored = false;
    queue = fitting(Infinity, MAX_WAITING);
    let room = blocked() ? 0 : MAX_STORED - 99;
    for (const key of queues()) if (key !== own) room -= size(localStorage.getItem(key));
    for (let some; !stored && (some = fitting(room, MAX_WAITING)).length; room /= 2) {
      stored = save(own, `{"left":${left || hidden()},"at":${now()},"batches":[${bodies(some).map(([text]) => text).join()}]}`);
    }
    if (!stored) remove(own);
  });
  const keep = () => { // once for all that a task adds
    if (!changed) queueMicrotask(store);
    changed = true;
  };

  const plan = (delay) => {
    due = Math.max(Math.min(due, now() + delay), resting, now() + paused());
    clearTimeout(timer);
    timer = setTimeout(flush, due - now());
  };
  const add = (event, where) => {
    back();
    queue.push([json({ ...where, $session_id: sessionId(), genlook_client_id: clientId() }), event, size(event)]);
    keep();
    plan(queue.length < MAX_EVENTS ? PAUSE : 0);
  };

  // true: taken, or useless to everyone; HALVE: refused without a reason; undefined: told to pause
  const post = async (body, keepalive) => {
    try {
      const reply = await fetch(page.endpoint, { method: "POST", body, keepalive, signal: window.AbortSignal?.timeout?.(TIMEOUT) });
      const { status } = reply;
      if (status === 429) {
        const after = reply.headers.get("Retry-After");
        const wait = after > 0 ? after * 1000 : Date.parse(after) - now();
        return note({ until: now() + (wait > 0 ? Math.min(wait, DAY) : MINUTE) });
      }
      const text = await reply.text();
      if ([400, 413].includes(status)) return text.includes("VALIDATION_FAILED") || HALVE;
      return JSON.parse(text).success === true || LATER;
    } catch { // offline, late, blocked, or not our reply
      return LATER;
    }
  };
  const yielded = () => { // another page has taken what waited, or the shopper has said no there
    if (stored && !read(own)) queue = [];
  };
  const done = (sent) => {
    queue = queue.filter(([, event]) => !sent.includes(event));
    keep();
  };

  const flush = async () => {
    due = Infinity;
    if (sending || left || !page.endpoint || !decide() || !queue.length) return;
    sending = true;
    const [[body, sent]] = bodies(queue.filter(([context]) => context === queue[0][0]).slice(0, most));
    const result = await post(body);
    sending = false;
    if (result === LATER) {
      note({ since: state().since || now() });
      failures += blocked() ? 9 : 1;
      resting = now() + Math.min(LONGEST, PAUSE * 2 ** failures / 2) * (1 + Math.random() / 4);
    } else if (result === HALVE && sent[1]) {
      most = sent.length >> 1;
    } else if (result) {
      most = MAX_EVENTS;
      failures = resting = 0;
      if (state().since) note({ since: 0 });
      done(sent);
    }
    keep();
    if (queue.length && !left) plan(0);
  };

  // Replies may come too late, so what is sent stays stored, and the next page sends it again.
  const leave = () => {
    if (left || document.prerendering || !decide()) return;
    left = true;
    store();
    if (!page.endpoint || paused() || (stored && resting > now())) return;
    for (const [body, sent] of bodies(fitting(KEEPALIVE, MAX_EVENTS))) {
      post(body, true).then((result) => result === true && done(sent));
    }
  };
  const back = () => {
    if (!left) return;
    yielded();
    left = false;
    keep();
    inherit(); // what the page in between could not send, for one
  };

  const queues = () => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  // What closed and crashed pages have left behind
  const inherit = quietly(() => {
    for (const key of queues()) {
      const entry = read(key) || {};
      if (key === own || (!entry.left && Math.abs(now() - entry.at) < ABANDONED)) continue;
      remove(key);
      attempt(() => entry.batches.reverse().forEach(({ context, events }) => {
        queue.unshift(...events.filter((event) => context && event.$insert_id).map((event) => {
          const text = json({ timestamp: event.timestamp, ...event }); // the timestamp first
          return [json(context), text, size(text)];
        }));
      }));
    }
    if (queue.length) { keep(); plan(0); }
  });

  const forget = quietly(() => {
    early = [];
    queue = [];
    open = false;
    if (keptId() === state().made) remove(CLIENT);
    memory = {};
    queues().forEach(remove);
    remove(STATE);
  });
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
    decide();
    if (!shop().customerPrivacy) shop().loadFeatures([{ name: "consent-tracking-api", version: "0.1" }], () => decide());
  });
  const listen = () => {
    ask();
    if (early.length) setTimeout(listen, PAUSE);
  };

  const track = quietly((event, properties) => {
    const given = json({ event, properties: properties || {} }).slice(1); // as it is now
    onceSeen(quietly(() => {
      const where = place();
      const one = `{"timestamp":"${iso(new Date())}","$insert_id":"${uuid()}",${given}`;
      const yes = decide();
      if (yes) add(one, where);
      else if (yes === undefined && early.length < MAX_EVENTS && early.push(() => add(one, where)) === 1) listen();
    }));
  });

  // The experiment: "widget", "holdout", or null. Shopify's API may come late: an id that is kept
  // stands for the yes of before.
  const arm = () => attempt(() =>
    (consent() || (consent() !== false && keptId())) && window.genlookArm(clientId)) || null;

  attempt(() => {
    const api = window.genlook = {
      track, arm,
      set: quietly((values) => Object.assign(page, JSON.parse(json(values)))),
      consent: quietly((yes) => { said = yes === true; onceSeen(decide); }),
      push: quietly(([name, ...given]) => api[name](...given)),
    };
    on(document, "visitorConsentCollected", decide);
    on(document, "visibilitychange", () => hidden() ? leave() : back());
    on(window, "pagehide", leave);
    on(window, "pageshow", (event) => { if (event.persisted) path = 0; back(); });
    on(window, "storage", (event) => event.key === own && yielded());
    on(window, "online", () => { resting = 0; back(); plan(0); });
    setInterval(() => { if (!left && open && decide()) inherit(); }, MINUTE);
    calls?.forEach?.(api.push);
    onceSeen(ask);
    if ("pageView" in data) track("product_page:page_view", { product_id: page.product_id });
  });
})();
