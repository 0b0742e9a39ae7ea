// Keys for the forms, one submission per page, and figures that stay fresh. Every page works without this.
"use strict";

const marked = (key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`);
const typing = (element) => element.matches("textarea, select, input:not([type=checkbox])");
const switched = document.getElementById("keys");

function keep(on) {
  try { localStorage.setItem("evalkit-keys", on ? "on" : "off"); } catch { /* the browser keeps nothing */ }
}

function kept() {
  try { return localStorage.getItem("evalkit-keys") !== "off"; } catch { return true; }
}

if (switched) {
  switched.checked = kept();
  switched.addEventListener("change", () => keep(switched.checked));
}

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (switched && !switched.checked) return;
  const element = document.activeElement;
  if (event.key === "Escape") { element.blur(); return; }
  // A number field takes no letters, so letters go on working there.
  const free = element.matches("input[type=number]") && /^[a-df-z]$/.test(event.key);
  if (typing(element) && !free) return;
  const target = marked(event.key);
  if (target) { event.preventDefault(); target.click(); return; }
  if (event.key === "n") { event.preventDefault(); document.getElementById("note")?.focus(); }
  if (event.key === "g") {
    const guidelines = document.getElementById("guidelines");
    if (guidelines) { event.preventDefault(); guidelines.open = !guidelines.open; }
  }
}
document.addEventListener("keydown", press);

// One label per page: a second press must not reach the next item.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

const live = document.getElementById("live");
if (live) {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(live.dataset.from);
      const text = await answer.text();
      if (answer.ok && text !== live.dataset.text) { live.dataset.text = text; live.innerHTML = text; }
      delete live.dataset.stale;
    } catch { live.dataset.stale = "yes"; /* the server was stopped: what is shown stays, and says so */ }
  }, 3000);
}
document.documentElement.dataset.ready = "yes";
