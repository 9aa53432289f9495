// The daemon's API, with the token of this tab.

const PATIENCE = 8000; // ms for one answer
const KEY = "penstock-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `status ${status}`);
    this.status = status;
    this.code = error?.code ?? "";
  }
}

export function call(path, options = {}) {
  const known = token.get();
  const headers = { ...options.headers, ...(known && { Authorization: `Bearer ${known}` }) };
  return fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
}

export let now = Date.now(); // by the daemon's clock, to the second

export async function ask(path, options = {}) {
  const response = await call(path, { signal: AbortSignal.timeout(PATIENCE), ...options });
  now = Date.parse(response.headers.get("Date")) || Date.now();
  const body = await response.json();
  // A daemon that is draining says so with a 503 and its whole state.
  if (!response.ok && !body.status) throw new Refused(response.status, body.error);
  return body;
}
