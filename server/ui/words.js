// Figures and causes as people read them.

export function bytes(n) {
  if (n == null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) { n /= 1024; at++; }
  return `${n >= 100 || at === 0 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

export function span(s) {
  if (s == null || Number.isNaN(s)) return "–";
  s = Math.max(0, s);
  if (s < 10) return `${Number.isInteger(s) ? s : s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} m ${String(Math.floor(s % 60)).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, "0")} m`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

export const many = (n, one, more) => `${n} ${n === 1 ? one : more}`;
export const between = (a, b) => (a && b ? (Date.parse(b) - Date.parse(a)) / 1000 : NaN);
export const short = (id) => (/^run_[0-9A-Z]{26}$/.test(id) ? `…${id.slice(-10)}` : id);
export const cores = (n) => `${n < 10 ? n.toFixed(2) : Math.round(n)}`;

// kind is how bad an end is; what is not known is no good news.
export function kind(cause) {
  if (cause === "completed") return "good";
  if (["cancelled", "client_gone", "shutting_down"].includes(cause)) return "";
  if (["memory_limit", "pids_limit", "timeout", "stalled", "output_limit", "provider_rate_limit"].includes(cause)) return "warn";
  return "bad";
}
