// Elements. What a run, a client or a CLI says is hostile: it reaches the
// document as text only (textContent, Text nodes), never as markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text) e.textContent = text;
  return e;
}

export function say(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

// fill draws a bar; of is the cap, absent where there is none.
export function fill(bar, value, of, also = null, judged = true) {
  while (bar.children.length < (also == null ? 1 : 2)) bar.prepend(make("i", bar.children.length ? "also" : ""));
  const share = of > 0 && value != null ? Math.min(1, value / of) : 0;
  bar.lastElementChild.style.width = `${(share * 100).toFixed(1)}%`;
  if (also != null) bar.firstElementChild.style.width = `${(of > 0 ? Math.min(1, also / of) : 0) * 100}%`;
  bar.classList.toggle("uncapped", !(of > 0));
  bar.classList.toggle("warn", judged && share >= 0.75 && share < 0.9);
  bar.classList.toggle("bad", judged && share >= 0.9);
}

export function gauge(name) {
  const g = make("span", "gauge");
  const bar = make("span", "bar");
  bar.dataset.name = name;
  const words = make("span");
  words.append(make("b"), make("em"));
  g.append(words, bar);
  return g;
}

export function setGauge(g, value, of, show, judged = true) {
  const [words, bar] = g.children;
  const text = value == null ? "–" : show(value);
  say(words.firstElementChild, text);
  say(words.lastElementChild, of > 0 ? show(of) : "no cap");
  // Without a cap it is decoration: the words beside it say all there is.
  const aria = of > 0
    ? { role: "meter", "aria-label": bar.dataset.name, "aria-valuemin": 0, "aria-valuemax": of, "aria-valuenow": value ?? 0, "aria-valuetext": `${text} of ${show(of)}` }
    : { role: null, "aria-label": null, "aria-valuemin": null, "aria-valuemax": null, "aria-valuenow": null, "aria-valuetext": null };
  for (const [name, v] of Object.entries(aria)) v == null ? bar.removeAttribute(name) : bar.setAttribute(name, v);
  fill(bar, value, of, null, judged);
}

// Table keeps one row per run: rows are made once and then updated, so that
// focus, selection and hover stay where they are.
export class Table {
  constructor(id, columns) {
    this.body = $(id).tBodies[0];
    this.table = $(id);
    this.none = $(`${id}-none`);
    this.count = $(`${id}-count`);
    this.columns = columns;
    this.rows = new Map();
    this.table.hidden = true;
  }

  show(list) {
    const keep = new Set(list.map((r) => r.id));
    for (const [id, row] of this.rows) if (!keep.has(id)) { row.remove(); this.rows.delete(id); }
    list.forEach((run, i) => {
      let row = this.rows.get(run.id);
      if (!row) this.rows.set(run.id, (row = this.row(run)));
      if (this.body.children[i] !== row) this.body.insertBefore(row, this.body.children[i] ?? null);
      row.run = run;
      this.columns.forEach((c, n) => c.set(row.cells[n], run));
    });
    this.table.hidden = list.length === 0;
    this.none.hidden = list.length > 0;
    say(this.count, String(list.length));
  }

  row(run) {
    const row = make("tr");
    row.dataset.run = run.id;
    row.setAttribute("role", "row");
    for (const c of this.columns) {
      const cell = make("td", c.class ?? "");
      cell.setAttribute("role", "cell");
      if (c.name) cell.dataset.name = c.name;
      c.make?.(cell, row);
      row.append(cell);
    }
    return row;
  }
}

/* ---- columns of a Table ---- */

export const text = (name, of, className = "") => ({
  name, class: className,
  set(cell, run) { const t = of(run); say(cell, t); cell.title = t; },
});

export const button = (className, label, act) => ({
  make(cell, row) {
    const b = make("button", className, label);
    b.type = "button";
    b.addEventListener("click", () => act(row.run));
    cell.append(b);
  },
});

// mark is a word beside a run's name.
export function mark(cell, word) {
  if (!word) return cell.children[1]?.remove();
  if (!cell.children[1]) cell.append(make("span", "chip warn"));
  say(cell.children[1], word);
}

export const meter = (name, value, cap, show, { judged = true, className = "" } = {}) => ({
  class: className, name,
  make(cell) { cell.append(gauge(name)); },
  set(cell, run) { setGauge(cell.firstElementChild, value(run), cap(run), show, judged); },
});
