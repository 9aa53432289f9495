// The view of one run: its facts, and its events as they come.

import { Refused, ask, call } from "./api.js";
import { $, make, say } from "./elements.js";
import { between, bytes, kind, span } from "./words.js";

const TEXT_MAX = 400_000; // characters of the output that stay in the page

let reading = null; // AbortController of the open stream

export function follow(run) {
  const box = $("follow-text");
  box.replaceChildren();
  box.dataset.length = "0";
  say($("follow-title"), run.id);
  showFacts(run);
  $("follow").showModal();
  reading?.abort();
  reading = new AbortController();
  read(run, reading.signal);
}

// The event comes late: by then another run may be on view.
$("follow").addEventListener("close", () => { if (!$("follow").open) reading?.abort(); });

function showFacts(run) {
  const chip = make("span", `chip ${run.cause ? kind(run.cause) : ""}`, run.cause ?? run.state);
  $("follow-cause").replaceChildren(chip);
  const r = run.receipt ?? {};
  const of = (value, cap, show) => (value == null ? "" : `${show(value)}${cap ? ` of ${show(cap)}` : ""}`);
  const facts = [
    ["Client", run.client], ["Model", run.model], ["Session", run.session_id],
    ["Took", run.ended_at && span(between(run.started_at ?? run.created_at, run.ended_at))],
    ["Peak memory", of(r.memory_peak_bytes, r.memory_max_bytes, bytes)], ["Peak pids", of(r.pids_peak, r.pids_max, String)],
    ["CPU time", r.cpu_user_usec != null ? span(((r.cpu_user_usec ?? 0) + (r.cpu_system_usec ?? 0)) / 1e6) : ""],
    ["Output", bytes(run.output_bytes)], ["Exit", run.signal ?? (run.exit_code != null ? `status ${run.exit_code}` : "")],
    ["Held by", `memory ${run.enforced_by.memory}, pids ${run.enforced_by.pids}`], ["Said", run.message],
  ];
  $("follow-facts").replaceChildren(...facts.filter(([, v]) => v).flatMap(([k, v]) => [make("dt", "", k), make("dd", k === "Said" ? "wide" : "", v)]));
}

async function read(run, signal) {
  const state = (words) => { if (!signal.aborted) say($("follow-state"), words); };
  state("reading…");
  try {
    const path = `v1/runs/${encodeURIComponent(run.id)}`;
    const response = await call(`${path}/events`, { signal });
    if (!response.ok) throw new Refused(response.status, (await response.json()).error);
    let rest = "";
    const decoder = new TextDecoder();
    for await (const piece of pieces(response.body)) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) event(line, state);
    }
    const last = await ask(path, { signal });
    if (!signal.aborted) showFacts(last);
    state("The run has ended; this is all of it.");
  } catch (err) {
    state(err instanceof Refused ? `Its output can't be shown: ${err.message}` : "The stream broke off.");
  }
}

// Not every browser has iterable streams.
async function* pieces(body) {
  const reader = body.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {}); // it is over either way
  }
}

function event(line, state) {
  if (line.startsWith(": notice: ")) return put("note", `${line.slice(10)}\n`);
  if (line === ": caught up") return state("live");
  if (!line.startsWith("data: ") || line === "data: [DONE]") return;
  const frame = JSON.parse(line.slice(6));
  if (frame.error) return put("error", `\n${frame.error.code}: ${frame.error.message}\n`);
  const delta = frame.choices[0]?.delta;
  if (delta?.reasoning_content) put("thought", delta.reasoning_content);
  if (delta?.content) put("", delta.content);
  if (delta?.x_tool) put("tool", toolLine(delta.x_tool));
}

const toolLine = (t) => `${t.name} ${t.status}${t.input ? ` ${t.input.slice(0, 300)}` : ""}${t.output ? ` → ${t.output.slice(0, 300)}` : ""}\n`;

// put appends text; what is far above is let go, so that a run of a day does
// not fill the tab.
function put(className, words) {
  const box = $("follow-text");
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  const last = box.lastElementChild;
  if (last && last.className === className && last.textContent.length < 4096) last.firstChild.appendData(words);
  else box.append(make("span", className, words));
  let length = Number(box.dataset.length) + words.length;
  while (length > TEXT_MAX && box.children.length > 1) {
    length -= box.firstElementChild.textContent.length;
    box.firstElementChild.remove();
  }
  box.dataset.length = String(length);
  if (atEnd) box.scrollTop = box.scrollHeight;
}
