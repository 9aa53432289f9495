// What the client programs of this directory have in common: conversations in, reports
// out. Each program is one stock client as an application uses it (openai, anthropic,
// vercel, langchain; gosdk is the Go ones); run it with the node of test/clis.
//
// stdin, lines, each a JSON object, a conversation; they are held side by side:
//   id           told again in the report
//   baseURL      of the server, without /v1
//   dialect      "chat", "responses" or "messages"
//   model, system, apiKey (default "none"), headers
//   turns        [{text, image (a data URI), stream, op ...}], one after the other until
//                one fails; op is of openai.mjs, default "ask"
//   stream       of turns that don't say it; default true
//   helper       true: the SDK's own accumulating stream instead of the plain one
//   memory       how a later turn knows the earlier: "resend" (default) sends the
//                conversation as the client does by default, "previous_response_id" an
//                id, "text" the conversation where the default is references to it
//   schema       a JSON schema that the answer is to keep to
//   extra        more fields of the body; not of vercel and langchain
//   max_retries  default: the client's own
//   abort_after_ms, abort_after_deltas   leave so long after a turn was sent, or at so many deltas
// stdout, lines: {"id", "turns": [Seen ...]} of each conversation that has ended.
// The program lives until the end of stdin: what a client leaves open stays open till then.
import { createInterface } from "node:readline";

// Seen is what an application sees of one turn.
class Seen {
  text = "";
  reasoning = "";
  deltas = 0; // pieces of text that came one by one
  spread_ms = 0; // from the first to the last of them
  tools = []; // {name, input, output, error} of what the server's side did
  finish = null; // the dialect's own word
  usage = null;
  id = null;
  status = null; // of a response
  events = []; // their types, in order; of equal neighbours the first
  numbers = []; // their sequence numbers, of responses
  requests = 0; // HTTP requests that the client made
  error = null; // {class, status, code, type, message, x_cause}
  #first = 0;
  #limit;
  #abort;

  constructor(limit, abort) {
    this.#limit = limit;
    this.#abort = abort;
  }

  event(type) {
    if (this.events.at(-1) !== type) this.events.push(type);
  }

  delta(text) {
    if (!text) return;
    this.text += text;
    this.deltas++;
    this.#first ||= performance.now();
    this.spread_ms = Math.round(performance.now() - this.#first);
    if (this.#limit && this.deltas === this.#limit) this.#abort.abort();
  }
}

// bodyOf is the body of an error reply or the data of an error event, where the client has kept it.
function bodyOf(err) {
  if (typeof err.responseBody === "string") {
    try {
      return JSON.parse(err.responseBody);
    } catch {
      return null;
    }
  }
  return err.error ?? err.data ?? err.value ?? err;
}

// shape is what an application can learn of an error: each client wraps it in its own way.
export function shape(err) {
  while (err?.lastError ?? err?.cause?.status) err = err.lastError ?? err.cause;
  const body = bodyOf(err ?? {});
  const inner = body?.error ?? body;
  const code = err.code ?? inner?.code;
  return {
    class: err?.constructor?.name ?? typeof err,
    status: err.status ?? err.statusCode ?? null,
    code: code === undefined ? null : code,
    type: inner?.type ?? err.type ?? null,
    message: err.message ?? inner?.message ?? JSON.stringify(err),
    x_cause: inner?.x_cause ?? body?.x_cause ?? null,
  };
}

// converse holds one conversation; open(request, fetch) makes its client and gives what
// asks one turn of it, ask(turn, seen, signal).
async function converse(request, open) {
  let requests = 0;
  const ask = await open(request, (...args) => {
    requests++;
    return fetch(...args);
  });
  const turns = [];
  for (const asked of request.turns) {
    const turn = { stream: request.stream, ...asked };
    const abort = new AbortController();
    const seen = new Seen(request.abort_after_deltas, abort);
    const before = requests;
    const timer = request.abort_after_ms && setTimeout(() => abort.abort(), request.abort_after_ms);
    try {
      await ask(turn, seen, abort.signal);
    } catch (err) {
      seen.error = shape(err);
    }
    clearTimeout(timer);
    // A plain stream ends as if all were well when it is left; others throw.
    if (abort.signal.aborted) seen.error = { class: "left" };
    seen.requests = requests - before;
    turns.push(seen);
    if (seen.error) break;
  }
  return turns;
}

const defaults = { stream: true, apiKey: "none", memory: "resend", headers: {}, extra: {} };

// run is a program's main.
export async function run(open) {
  process.on("unhandledRejection", (err) => console.error("unhandled:", err));
  for await (const line of createInterface({ input: process.stdin })) {
    const request = { ...defaults, ...JSON.parse(line) };
    converse(request, open).then((turns) => process.stdout.write(JSON.stringify({ id: request.id, turns }) + "\n"));
  }
  process.exit(0); // some clients leave timers behind
}
