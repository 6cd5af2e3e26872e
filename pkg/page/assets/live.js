// Renders the page anew when what it shows has changed, and finds as one types.
// The page works without it.
"use strict";
(() => {
  const main = document.getElementById("main");
  const told = document.getElementById("live");
  const settle = 100; // milliseconds that changes may come together in
  const again = 3000; // milliseconds until a stream that was refused is opened anew
  const patience = 15000; // milliseconds that an answer may take
  const stream = main.dataset.stream;
  let every = Number(main.dataset.every) || 0;
  let asking = false, wanted = false, timer = 0, source = null;

  const say = (text) => { told.textContent = text; };

  // become makes one element like another and leaves alone what is equal, so
  // that the focus, the place and what is open stay.
  function become(old, now) {
    if (old.isEqualNode(now)) return;
    if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName) {
      old.replaceWith(document.importNode(now, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = now.nodeValue;
      return;
    }
    for (const a of [...old.attributes]) {
      if (!now.hasAttribute(a.name) && a.name !== "open") old.removeAttribute(a.name);
    }
    for (const a of now.attributes) {
      if (a.name !== "open" && old.getAttribute(a.name) !== a.value) old.setAttribute(a.name, a.value);
    }
    if (old.nodeName === "TBODY") rows(old, now);
    else children(old, now);
  }

  function children(old, now) {
    const inner = [...now.childNodes];
    for (let i = 0; i < inner.length; i++) {
      if (i < old.childNodes.length) become(old.childNodes[i], inner[i]);
      else old.appendChild(document.importNode(inner[i], true));
    }
    while (old.childNodes.length > inner.length) old.lastChild.remove();
  }

  // rows are known by where they lead, so that the focus stays on what it is on
  // when another row comes before it.
  const key = (row) => row.querySelector("a[href]")?.getAttribute("href") || row.textContent;
  function rows(old, now) {
    const known = new Map();
    for (const row of old.children) known.set(key(row), row);
    let place = old.firstElementChild;
    for (const row of now.children) {
      const mine = known.get(key(row));
      known.delete(key(row));
      if (!mine) {
        old.insertBefore(document.importNode(row, true), place);
        continue;
      }
      if (mine !== place) old.insertBefore(mine, place);
      else place = place.nextElementSibling;
      become(mine, row);
    }
    for (const row of known.values()) row.remove();
  }

  async function show() {
    if (asking) { wanted = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(patience) });
      const text = await answer.text();
      if (answer.status >= 500) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(text, "text/html").getElementById("main");
      if (!page) throw new Error("no page");
      become(main, page);
      if (answer.ok) every = Number(page.dataset.every) || 0;
      say("live, " + new Date().toLocaleTimeString());
    } catch {
      say("out of touch at " + new Date().toLocaleTimeString());
    }
    asking = false;
    if (wanted) { wanted = false; soon(); }
  }

  function soon() {
    if (timer) return;
    timer = setTimeout(() => { timer = 0; show(); }, settle);
  }

  function follow() {
    if (source || document.hidden) return;
    source = new EventSource(stream);
    for (const name of ["changed", "removed", "reset", "stale", "dropped", "ready"]) source.addEventListener(name, soon);
    source.addEventListener("open", () => say("live"));
    source.addEventListener("error", () => {
      say("out of touch at " + new Date().toLocaleTimeString());
      if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
      source = null;
      setTimeout(() => { follow(); soon(); }, again);
    });
  }

  // Tabs that nobody looks at have no connection: browsers have few to a host.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
      return;
    }
    if (stream) follow();
    soon();
  });

  if (stream) follow();
  const tick = () => setTimeout(async () => {
    if (!document.hidden) await show();
    if (every) tick();
  }, every);
  if (!stream && every) tick();

  document.addEventListener("input", (e) => {
    const form = e.target.closest("form[data-typed]");
    if (!form) return;
    const address = new URL(form.getAttribute("action"), location.href);
    address.search = new URLSearchParams(new FormData(form)).toString();
    history.replaceState(null, "", address);
    soon();
  });

  document.addEventListener("keydown", (e) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.nodeName);
    if (e.key === "/" && !typing && !e.ctrlKey && !e.metaKey && !e.altKey) {
      e.preventDefault();
      document.getElementById("everything").focus();
    }
    if (e.key === "Escape" && typing) document.activeElement.blur();
  });
})();
