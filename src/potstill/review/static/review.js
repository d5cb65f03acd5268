// Keys and decisions without reloading; every page works without this file too.
"use strict";
const body = document.body;
const said = document.getElementById("said");
const say = (words) => { said.textContent = words; };
const cards = () => [...document.querySelectorAll("[data-card]")];
const currentCard = () => document.activeElement.closest("[data-card]") || cards()[0];
const go = (name) => { if (body.dataset[name]) location.href = body.dataset[name]; return Boolean(body.dataset[name]); };

function focusCard(card) {
  if (!card) return;
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function move(step) {
  const all = cards();
  const at = all.indexOf(document.activeElement.closest("[data-card]"));
  const to = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step];
  if (to) focusCard(to);
  else if (step > 0) document.querySelector("a[rel=next]")?.focus();
}

async function decide(form, action) {
  const card = form.closest("[data-card]");
  const fields = new URLSearchParams(new FormData(form));
  fields.set("action", action);
  let answer;
  try {
    const response = await fetch("/decide", { method: "POST", body: fields, headers: { Accept: "application/json" } });
    answer = await response.json();
  } catch (error) {
    say("Not saved: the server does not answer.");
    return;
  }
  if (answer.error) { say(answer.error); return; }
  for (const state of document.querySelectorAll(`[data-state="${answer.n}"]`)) {
    state.textContent = answer.words;
    state.className = `state ${answer.state}`;
  }
  say(`${answer.words || "Undecided"}. Saved.`);
  if (card && card.classList.contains("row")) {
    const all = cards();
    focusCard(all[all.indexOf(card) + 1] || card);
  } else if (card === cards()[0] && body.dataset.next) {
    location.href = body.dataset.next;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.classList.contains("decide")) return;
  event.preventDefault();
  decide(form, event.submitter ? event.submitter.value : "accept");
});

const keys = {
  j: () => { if (!go("next")) move(1); },
  k: () => { if (!go("previous")) move(-1); },
  l: () => go("list"),
  a: () => press("accept"),
  r: () => press("reject"),
  e: () => { const link = currentCard()?.querySelector("a[href*='/edit']"); if (link) location.href = link.href; },
  u: () => document.getElementById("undo")?.click(),
  w: () => currentCard()?.querySelector("input[name=reason]")?.focus(),
  "/": () => { const field = document.getElementById("q"); if (field) field.focus(); else location.href = "/"; },
  "?": () => document.getElementById("keys").showModal(),
  Enter: () => { const card = document.activeElement; if (card.matches("[data-card]")) card.querySelector("a")?.click(); },
};

function press(value) {
  currentCard()?.querySelector(`button[value="${value}"]`)?.click();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    if (event.key === "Enter" && event.ctrlKey && event.target.form) event.target.form.requestSubmit(event.target.form.querySelector("button"));
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const choice = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (choice) { event.preventDefault(); choice.click(); return; }
  if (/^[1-9]$/.test(event.key)) { focusCard(cards()[Number(event.key) - 1]); return; }
  if (keys[event.key]) {
    if (!(event.key === "Enter" && event.target.matches("a, button, summary"))) {
      if (event.key !== "Enter") event.preventDefault();
      keys[event.key]();
    }
  }
});
