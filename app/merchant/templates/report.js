"use strict";
(() => {
  const localToken = new URLSearchParams(location.search).get("id_token");
  const token = async () => (window.shopify?.idToken ? await window.shopify.idToken() : localToken);

  const ask = async (address, options = {}) => {
    const url = new URL(address, location.href);
    url.searchParams.delete("id_token");
    const headers = { Authorization: `Bearer ${(await token()) ?? ""}` };
    const reply = await fetch(url, { ...options, headers });
    if (reply.ok) return reply;
    const { ended, failed } = document.getElementById("problem").dataset;
    if (reply.status === 401) throw new Error(ended);
    const body = await reply.json().catch(() => ({}));
    throw new Error(body.message ?? failed);
  };

  const complain = (text) => {
    const problem = document.getElementById("problem");
    problem.textContent = text;
    problem.hidden = false;
    problem.scrollIntoView({ block: "nearest" });
  };

  // Only the hash differs: that is the browser's own affair.
  const bare = (address) => new URL(address, location.href).href.replace(/#.*/, "");
  let shown = bare(location.href);
  let latest = 0;
  const EVERY = 30000; // ms
  let shownAt = Date.now();

  const selectorOf = (element) => {
    const href = element.getAttribute("href");
    if (href) return `a[href="${CSS.escape(href)}"]`;
    const curves = [...document.querySelectorAll(".plot input")];
    if (curves.includes(element)) return `.plot input[aria-label="${CSS.escape(element.ariaLabel)}"]`;
    const form = element.form ? `#${element.form.id} ` : "";
    return form + element.localName + (element.name ? `[name=${element.name}]` : "");
  };

  // What has been typed or chosen and not sent, and where one has scrolled to.
  const fields = (root) => [...root.querySelectorAll("input:not([type=hidden]), select")];
  const scrolled = (root) => [...root.querySelectorAll(".scroll, pre")];
  const isTouched = (field) =>
    field.matches("select")
      ? [...field.options].some((option) => option.selected !== option.defaultSelected)
      : field.value !== field.defaultValue;

  const remember = (old) => {
    const touched = fields(old).filter(isTouched).map((field) => [selectorOf(field), field.value]);
    const places = scrolled(old).map((one) => [one.scrollLeft, one.scrollTop]);
    const { scrollX, scrollY } = window;
    return () => {
      for (const [selector, value] of touched) {
        const field = document.querySelector(selector);
        if (field) field.value = value;
      }
      scrolled(document).forEach((one, number) => one.scrollTo(...(places[number] ?? [0, 0])));
      window.scrollTo(scrollX, scrollY);
    };
  };

  const show = (page, isRenewal) => {
    const old = document.getElementById("main");
    const restore = isRenewal && remember(old);
    const { selectionStart, selectionEnd } = document.activeElement;
    const open = new Set([...old.querySelectorAll("details[open] > summary")].map((s) => s.textContent));
    const focused = old.contains(document.activeElement) && selectorOf(document.activeElement);
    old.replaceWith(page.getElementById("main"));
    for (const summary of document.querySelectorAll("details > summary"))
      if (open.has(summary.textContent)) summary.parentElement.open = true;
    if (restore) restore();
    prepare();
    const again = focused && document.querySelector(focused);
    if (again) again.focus({ preventScroll: Boolean(isRenewal) });
    if (again && isRenewal && selectionStart != null)
      again.setSelectionRange(selectionStart, selectionEnd);
    if (isRenewal) document.querySelector(".dot").classList.add("renewed");
  };

  // Of several at once the last one counts.
  const swap = async (address, { keep = true, isRenewal = false } = {}) => {
    const number = ++latest;
    shownAt = Date.now();
    const busy = (is) => document.getElementById("main").setAttribute("aria-busy", is);
    if (!isRenewal) busy(true);
    try {
      const text = await (await ask(address)).text();
      if (number !== latest) return;
      show(new DOMParser().parseFromString(text, "text/html"), isRenewal);
      const url = new URL(address, location.href);
      if (localToken) url.searchParams.set("id_token", localToken);
      if (keep && bare(url) !== shown) history.pushState(null, "", url);
      shown = bare(location.href);
    } catch (error) {
      if (number !== latest || isRenewal) return;
      busy(false);
      complain(error.message);
    }
  };

  // While the page is seen, and has today in it, the numbers renew themselves; but not under
  // somebody who is choosing a day or a share, or marking a text.
  const isInHand = () =>
    document.activeElement?.matches("select, input[type=date], input[type=number]") ||
    !getSelection().isCollapsed;
  const renew = () => {
    const main = document.querySelector("#main[data-live][aria-busy=false]");
    const isDue = document.visibilityState === "visible" && Date.now() - shownAt >= EVERY;
    if (main && isDue && !isInHand())
      swap(location.href, { keep: false, isRenewal: true });
  };

  const download = async (address) => {
    const reply = await ask(address);
    const name = /filename="([^"]+)"/.exec(reply.headers.get("Content-Disposition"))?.[1];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await reply.blob());
    link.download = name ?? "events";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  const change = async (path, options) => {
    const { lang } = document.documentElement;
    await ask(`${path}?locale=${lang}`, options);
    await swap(location.href, { keep: false });
  };

  const save = (form, timeZone = form.time_zone.value) =>
    change("/app/api/settings", {
      method: "PUT",
      body: JSON.stringify({
        time_zone: timeZone,
        window_hours: Number(form.window_hours.value),
      }),
    });

  const experiment = (form) => {
    const sent = form.share && JSON.stringify({ share: Number(form.share.value) });
    return change("/app/api/experiment", sent ? { method: "PUT", body: sent } : { method: "DELETE" });
  };

  // Each point of a curve by the arrow keys, the pointer or touch.
  const draw = (figure) => {
    const points = figure.dataset.points.split("\n");
    const input = figure.querySelector("input");
    const cursor = figure.querySelector(".cursor");
    const say = () => {
      const place = Number(input.value);
      figure.querySelector(".value").textContent = points[place];
      input.setAttribute("aria-valuetext", points[place]);
      cursor.style.left = `${(100 * place) / Math.max(1, points.length - 1)}%`;
      cursor.hidden = false;
    };
    input.hidden = false;
    input.addEventListener("input", say);
    input.addEventListener("focus", say);
    input.addEventListener("pointermove", (event) => {
      const { left, width } = input.getBoundingClientRect();
      input.value = Math.round(((event.clientX - left) / width) * (points.length - 1));
      say();
    });
    input.setAttribute("aria-valuetext", points[input.value]);
    if (isChosen(input)) say();
  };
  const isChosen = (input) => input.value !== input.defaultValue;

  const prepare = () => {
    document.querySelectorAll(".curve").forEach(draw);
    document.getElementById("print").hidden = false;
    const link = document.querySelector(".link");
    link.onfocus = () => link.select();
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const field = document.querySelector("#settings [name=time_zone]");
    const zones = Intl.supportedValuesOf?.("timeZone") ?? [zone];
    document.getElementById("zones").replaceChildren(
      ...zones.map((name) => Object.assign(document.createElement("option"), { value: name })),
    );
    const hint = document.getElementById("zone-hint");
    if (!zone || zone === field.value) return;
    hint.textContent = hint.dataset.text.replace("{zone}", zone);
    const offer = document.getElementById("zone-offer");
    if (!offer) return;
    for (const part of offer.children) part.textContent = part.textContent.replace("{zone}", zone);
    offer.querySelector("button").onclick = () =>
      save(field.form, zone).catch((error) => complain(error.message));
    offer.hidden = false;
  };

  document.addEventListener("click", (event) => {
    if (event.target.id === "print") window.print();
    const link = event.target.closest("a[data-swap], a[data-download]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (link.hasAttribute("data-swap")) swap(link.href.replace(/#.*/, ""));
    else download(link.href).catch((error) => complain(error.message));
  });
  document.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    if (form.id === "settings") {
      save(form).catch((error) => complain(error.message));
      return;
    }
    if (form.id === "experiment") {
      experiment(form).catch((error) => complain(error.message));
      return;
    }
    const url = new URL(location.href);
    url.searchParams.delete("find");
    if (form.id === "days") url.searchParams.delete("range");
    for (const [name, value] of new FormData(form)) url.searchParams.set(name, value);
    swap(url);
  });
  addEventListener("popstate", () => {
    if (bare(location.href) !== shown) swap(location.href, { keep: false });
  });
  document.addEventListener("visibilitychange", renew);
  setInterval(renew, 1000);
  prepare();
})();
