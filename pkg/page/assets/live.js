// Renders the page anew when what it shows has changed, and finds as one types.
// The page works without it.
"use strict";
(() => {
  const main = document.getElementById("main");
  const told = document.getElementById("live");
  const settle = 100; // milliseconds that changes may come together in
  let asking = false, again = false, timer = 0;

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
    const inner = [...now.childNodes];
    for (let i = 0; i < inner.length; i++) {
      if (i < old.childNodes.length) become(old.childNodes[i], inner[i]);
      else old.appendChild(document.importNode(inner[i], true));
    }
    while (old.childNodes.length > inner.length) old.lastChild.remove();
  }

  async function show(address) {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(address || location.href, { headers: { Accept: "text/html" } });
      const text = await answer.text();
      if (!answer.ok && !text.includes("id=\"main\"")) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(text, "text/html");
      become(main, page.getElementById("main"));
      told.textContent = "live, " + new Date().toLocaleTimeString();
    } catch {
      told.textContent = "out of touch since " + new Date().toLocaleTimeString();
    }
    asking = false;
    if (again) { again = false; soon(); }
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(show, settle);
  }

  if (main.dataset.stream) {
    const stream = new EventSource(main.dataset.stream);
    let first = true;
    for (const name of ["changed", "removed", "reset", "stale", "dropped"]) stream.addEventListener(name, soon);
    stream.addEventListener("ready", () => {
      told.textContent = "live";
      if (!first) soon();
      first = false;
    });
    stream.addEventListener("error", () => { told.textContent = "out of touch"; });
  } else if (Number(main.dataset.every)) {
    const tick = () => {
      const every = Number(main.dataset.every);
      if (!every) return;
      setTimeout(async () => { if (!document.hidden) await show(); tick(); }, every);
    };
    tick();
  }

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
