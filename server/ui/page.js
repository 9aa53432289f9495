// The live page: what runs, who waits, why runs ended.

import { Refused, ask, now, token } from "./api.js";
import { $, Table, button, fill, make, mark, meter, say, text } from "./elements.js";
import { follow } from "./follow.js";
import { between, bytes, cores, kind, many, short, span } from "./words.js";

const EVERY = 2000; // ms between polls
const ENDED = 40; // ended runs shown

/* ---- tables ---- */

const id = {
  ...button("id", "Follow", follow),
  set(cell, run) {
    const b = cell.firstElementChild;
    say(b, short(run.id));
    b.title = run.id;
    b.setAttribute("aria-label", `Follow ${run.id}`);
    b.disabled = run.state === "queued"; // it has no events yet
    mark(cell, run.usage?.stalled ? "stalled" : run.state === "ending" ? "ending" : "");
  },
};
const cancel = {
  ...button("", "Cancel", confirmCancel), class: "do",
  set(cell, run) { cell.firstElementChild.setAttribute("aria-label", `Cancel ${run.id}`); },
};
const client = text("Client", (r) => r.client);
const model = text("Model", (r) => r.model);
const cpuCap = (r) => (r.limits?.cpu?.quota > 0 ? r.limits.cpu.quota / r.limits.cpu.period : 0);

const running = new Table("running", [
  id, client, model,
  text("Age", (r) => span((now - Date.parse(r.started_at ?? r.created_at)) / 1000), "num"),
  meter("Memory", (r) => r.usage?.memory_bytes, (r) => r.limits?.memory?.limit ?? 0, bytes),
  meter("Pids", (r) => r.usage?.pids, (r) => r.limits?.pids?.limit ?? 0, String),
  meter("CPU", (r) => r.usage?.cpu_cores, cpuCap, cores, { judged: false }),
  cancel,
]);

const waiting = new Table("waiting", [
  id, client, model,
  text("Waited", (r) => span(r.queue?.waited_seconds ?? (now - Date.parse(r.created_at)) / 1000), "num"),
  text("For", waitsFor, "wide"),
  cancel,
]);

function waitsFor(r) {
  if (r.state === "waiting" || r.queue?.for === "session") return `an earlier turn of session ${r.session_id}`;
  return r.queue?.position ? `a slot; place ${r.queue.position} in its client's line` : "a slot";
}

const ended = new Table("ended", [
  id, client, model,
  text("Ended", (r) => `${span(Math.floor((now - Date.parse(r.ended_at ?? r.created_at)) / 1000))} ago`, "num"),
  {
    name: "Cause", class: "cause",
    make(cell) { cell.append(make("span", "chip")); },
    set(cell, r) { const c = cell.firstElementChild; say(c, r.cause ?? "?"); c.className = `chip ${kind(r.cause)}`; },
  },
  text("Took", (r) => span(between(r.started_at ?? r.created_at, r.ended_at)), "num"),
  meter("Peak memory", (r) => r.receipt?.memory_peak_bytes, (r) => r.receipt?.memory_max_bytes ?? 0, bytes, { className: "peak" }),
  text("Said", (r) => r.message ?? "", "said wide"),
]);

/* ---- health ---- */

function showHealth(h) {
  const colour = { ok: "good", busy: "good", draining: "warn", wedged: "bad" }[h.status] ?? "bad";
  $("status").className = `chip ${colour}`;
  say($("status"), h.status);
  say($("version"), `${h.version} · up ${span(h.uptime_seconds)}`);
  document.title = `penstock: ${h.queue.running} running${h.queue.waiting ? `, ${h.queue.waiting} waiting` : ""}`;

  const q = h.queue, m = h.memory, i = h.isolation, c = h.children;
  say($("h-slots"), q.max_runs > 0 ? `${q.running} / ${q.max_runs}` : String(q.running));
  fill($("h-slots-bar"), q.running, q.max_runs, null, false);
  say($("h-slots-more"), `${many(c.processes, "process", "processes")}${c.stalled ? `, ${c.stalled} stalled` : ""}`);

  say($("h-memory"), m.used_bytes == null ? bytes(m.reserved_bytes) : bytes(m.used_bytes));
  fill($("h-memory-bar"), m.used_bytes ?? m.reserved_bytes, m.budget_bytes, m.reserved_bytes);
  say($("h-memory-more"), `${m.budget_bytes ? `of ${bytes(m.budget_bytes)}, ` : "no budget, "}${m.used_bytes == null ? "reserved" : `${bytes(m.reserved_bytes)} reserved`}`);

  say($("h-queue"), String(q.waiting));
  say($("h-queue-more"), q.waiting ? `longest wait ${span(q.oldest_wait_seconds)}` : "nobody waits");

  say($("h-pressure"), m.pressure_some_avg10 == null ? "–" : `${m.pressure_some_avg10.toFixed(1)} %`);
  say($("h-pressure-more"), `${m.pressure_full_avg10 == null ? "not told by this host" : `full ${m.pressure_full_avg10.toFixed(1)} %`}, ${bytes(m.host_available_bytes)} free`);

  say($("h-isolation"), i.mode);
  say($("h-isolation-more"), `memory ${i.memory}, pids ${i.pids}, self-test ${i.self_test}${i.leaked_groups ? `, ${i.leaked_groups} leaked` : ""}`);

  say($("h-daemon"), bytes(h.daemon.rss_bytes));
  say($("h-daemon-more"), `${h.daemon.open_fds ?? "–"} files, ${h.daemon.goroutines} goroutines`);

  const list = $("degraded");
  const words = h.degraded.join("\n");
  if (list.dataset.words !== words) {
    list.dataset.words = words;
    list.replaceChildren(...h.degraded.map((d) => make("li", "", d)));
  }
  list.hidden = h.degraded.length === 0;
}

/* ---- why runs ended ---- */

let only = "";

function showEnded(list) {
  const counts = new Map();
  for (const r of list) counts.set(r.cause ?? "?", (counts.get(r.cause ?? "?") ?? 0) + 1);
  if (only && !counts.has(only)) only = "";
  const box = $("causes");
  const wanted = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  const signature = JSON.stringify([wanted, only]);
  if (box.dataset.shown !== signature) {
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.cause : null;
    box.dataset.shown = signature;
    box.replaceChildren(...wanted.map(([cause, n]) => causeButton(cause, n)));
    [...box.children].find((b) => b.dataset.cause === focused)?.focus();
  }
  ended.show(only ? list.filter((r) => r.cause === only) : list);
}

function causeButton(cause, n) {
  const b = make("button", `chip ${kind(cause)}`, `${cause} ${n}`);
  b.type = "button";
  b.dataset.cause = cause;
  b.setAttribute("aria-pressed", String(cause === only));
  b.addEventListener("click", () => { only = only === cause ? "" : cause; poll(); });
  return b;
}

/* ---- polling ---- */

let timer = 0, polling = false, again = false, seen = 0;
let unknown; // the token that was refused, null for none; undefined while there is no such thing

async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  if (polling) { again = true; return; }
  polling = true;
  try {
    showHealth(await ask("health"));
    seen = Date.now();
    if (unknown !== token.get()) { // else nothing has changed: the answer would be the same
      const [live, finished] = await Promise.all([ask("v1/runs?state=live&limit=1000"), ask(`v1/runs?state=finished&limit=${ENDED}`)]);
      showRuns(live.data, finished.data);
      wellAgain();
    } else {
      document.body.className = "locked";
      $("gone").hidden = true;
    }
  } catch (err) {
    trouble(err);
  }
  polling = false;
  clearTimeout(timer);
  timer = setTimeout(poll, again ? 0 : EVERY);
  again = false;
}

function showRuns(live, finished) {
  const waits = (r) => r.state === "queued" || r.state === "waiting";
  running.show(live.filter((r) => !waits(r)).reverse());
  waiting.show(live.filter(waits).reverse());
  showEnded(finished);
}

function wellAgain() {
  document.body.className = "";
  $("gone").hidden = true;
  say($("seen"), "live, every 2 s");
}

function trouble(err) {
  if (err instanceof Refused && err.status === 401) {
    document.body.className = "locked";
    say($("seen"), "a token is needed");
    unknown = token.get();
    askToken(unknown ? "This token is not known here." : "This daemon wants to know who asks.");
    return;
  }
  document.body.className = "stale";
  const gone = $("gone");
  if (err instanceof Refused) {
    say(gone, `The daemon refuses: ${err.message}`);
  } else {
    const since = seen ? ` What is below is from ${new Date(seen).toLocaleTimeString()}.` : "";
    say(gone, `The daemon does not answer.${since} Trying again every 2 s.`);
    say($("status"), "gone");
    $("status").className = "chip bad";
    document.title = "penstock: gone";
  }
  gone.hidden = false;
  say($("seen"), "");
}

document.addEventListener("visibilitychange", poll);

/* ---- dialogs ---- */

for (const b of document.querySelectorAll("[data-close]")) b.addEventListener("click", () => b.closest("dialog").close());

let declined = false; // the token dialog was closed: it is not forced on anybody twice

function askToken(why) {
  say($("token-why"), `${why} A token stays in this tab, and is forgotten with it. A client's token shows that client's runs.`);
  if (declined || $("token").open) return;
  $("token-forget").hidden = !token.get();
  $("token").returnValue = "";
  $("token").showModal();
}

$("token").addEventListener("close", () => { declined = $("token").returnValue !== "used"; $("token-value").value = ""; });
$("token-open").addEventListener("click", () => { declined = false; askToken(""); });
$("token-forget").addEventListener("click", () => { token.forget(); unknown = undefined; $("token").close(""); poll(); });
$("token").querySelector("form").addEventListener("submit", (e) => {
  e.preventDefault();
  token.set($("token-value").value.trim());
  unknown = undefined;
  $("token").close("used");
  poll();
});

let doomed = null;

function confirmCancel(run) {
  doomed = run;
  say($("cancel-what"), `${run.id}: ${run.model} for ${run.client}`);
  say($("cancel-failed"), "");
  $("cancel-yes").disabled = false;
  $("cancel").showModal();
}

$("cancel-yes").addEventListener("click", async () => {
  $("cancel-yes").disabled = true;
  try {
    await ask(`v1/runs/${encodeURIComponent(doomed.id)}/cancel`, { method: "POST" });
    $("cancel").close();
    poll();
  } catch (err) {
    say($("cancel-failed"), `It was not cancelled: ${err.message}`);
    $("cancel-yes").disabled = false;
  }
});

poll();
