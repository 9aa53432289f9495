// The openai SDK: chat completions and responses. Its version is that of test/clis.
//
// A turn's op, of responses: "ask" (default), and of the response that was made last, or of
// the turn's id: "retrieve" (until it is no longer queued or in progress), "follow" (its
// stream after event number `after`, `most` events of it), "cancel", "delete", "items".
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { run } from "./client.mjs";

const clis = createRequire(new URL("../clis/package.json", import.meta.url));
const { default: OpenAI } = await import(pathToFileURL(clis.resolve("openai")));

// A run's activity as chat completions tell it, in an extension of ours.
function chatTake(seen, chunk) {
  seen.event("chunk");
  const choice = chunk.choices?.[0];
  seen.delta(choice?.delta?.content);
  seen.reasoning += choice?.delta?.reasoning_content ?? "";
  seen.finish = choice?.finish_reason ?? seen.finish;
  seen.usage = chunk.usage ?? seen.usage;
  seen.id = chunk.id;
}

function chat(client, request) {
  const messages = request.system ? [{ role: "system", content: request.system }] : [];
  return async (turn, seen, signal) => {
    const image = turn.image && [
      { type: "text", text: turn.text },
      { type: "image_url", image_url: { url: turn.image } },
    ];
    messages.push({ role: "user", content: image || turn.text });
    const body = { model: request.model, messages: [...messages], ...request.extra };
    if (request.schema)
      body.response_format = { type: "json_schema", json_schema: { name: "answer", schema: request.schema } };
    if (!turn.stream) {
      const done = await client.chat.completions.create(body, { signal });
      const choice = done.choices?.[0];
      seen.text = choice?.message?.content ?? "";
      seen.reasoning = choice?.message?.reasoning_content ?? "";
      seen.finish = choice?.finish_reason ?? null;
      seen.usage = done.usage ?? null;
      seen.id = done.id;
      if (done.error) seen.failure = done.error; // of a reply that had begun
    } else if (request.helper) {
      const stream = client.chat.completions.stream(body, { signal });
      for await (const chunk of stream) chatTake(seen, chunk);
      await stream.finalChatCompletion();
    } else {
      for await (const chunk of await client.chat.completions.create({ ...body, stream: true }, { signal }))
        chatTake(seen, chunk);
    }
    messages.push({ role: "assistant", content: seen.text });
  };
}

// tell takes a whole response, which is also what a stream ends with.
function tell(seen, response) {
  seen.id = response.id;
  seen.status = response.status;
  seen.finish = response.incomplete_details?.reason ?? response.status;
  seen.usage = response.usage ?? null;
  seen.tools = (response.output ?? [])
    .filter((item) => item.type === "mcp_call")
    .map(({ name, arguments: input, output, error }) => ({ name, input, output, error }));
  if (response.error) seen.failure = response.error;
}

function take(seen, event) {
  seen.event(event.type);
  if (typeof event.sequence_number === "number") seen.numbers.push(event.sequence_number);
  if (event.type === "response.output_text.delta") seen.delta(event.delta);
  if (event.type === "response.reasoning_summary_text.delta") seen.reasoning += event.delta;
  if (event.response) tell(seen, event.response);
}

function whole(seen, response) {
  tell(seen, response);
  // Of a reply that is neither create's nor retrieve's the SDK makes no output_text.
  const parts = (response.output ?? []).filter((item) => item.type === "message").flatMap((item) => item.content);
  seen.text = response.output_text ?? parts.map((part) => part.text ?? "").join("");
  const summaries = (response.output ?? []).filter((item) => item.type === "reasoning").flatMap((item) => item.summary);
  seen.reasoning = summaries.map((part) => part.text).join("");
  return response.output ?? [];
}

// more are the operations on a response that there is.
const more = {
  async retrieve(client, id, turn, seen, signal) {
    for (;;) {
      const response = await client.responses.retrieve(id, {}, { signal });
      seen.event(response.status);
      if (response.status !== "queued" && response.status !== "in_progress") return whole(seen, response);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
  async follow(client, id, turn, seen, signal) {
    const query = { stream: true, ...(turn.after !== undefined && { starting_after: turn.after }) };
    for await (const event of await client.responses.retrieve(id, query, { signal })) {
      take(seen, event);
      if (seen.numbers.length === turn.most) break;
    }
  },
  async cancel(client, id, turn, seen, signal) {
    whole(seen, await client.responses.cancel(id, { signal }));
  },
  async delete(client, id, turn, seen, signal) {
    await client.responses.delete(id, { signal });
    seen.id = id;
  },
  async items(client, id, turn, seen, signal) {
    seen.id = id;
    for await (const item of client.responses.inputItems.list(id, {}, { signal })) {
      seen.event(item.type);
      seen.text += (item.content ?? []).map((part) => part.text ?? "").join("");
    }
  },
};

function responses(client, request) {
  let input = [];
  let last = null;
  return async (turn, seen, signal) => {
    if (turn.op && turn.op !== "ask") return more[turn.op](client, turn.id ?? last, turn, seen, signal);
    const content = [{ type: "input_text", text: turn.text }];
    if (turn.image) content.push({ type: "input_image", image_url: turn.image, detail: "auto" });
    const said = turn.image ? { role: "user", content } : { role: "user", content: turn.text };
    const byID = request.memory === "previous_response_id" && last;
    input = byID ? [said] : [...input, said];
    const body = { model: request.model, input, ...request.extra };
    if (request.system) body.instructions = request.system;
    if (byID) body.previous_response_id = last;
    if (request.schema) body.text = { format: { type: "json_schema", name: "answer", schema: request.schema } };
    let output = [];
    if (!turn.stream) {
      output = whole(seen, await client.responses.create(body, { signal }));
    } else if (request.helper) {
      const stream = client.responses.stream(body, { signal });
      for await (const event of stream) take(seen, event);
      output = (await stream.finalResponse()).output;
    } else {
      for await (const event of await client.responses.create({ ...body, stream: true }, { signal })) {
        take(seen, event);
        if (event.response) output = event.response.output ?? [];
        if (turn.most && seen.numbers.length === turn.most) break;
      }
    }
    last = seen.id;
    input = [...input, ...output];
  };
}

await run((request, fetch) => {
  const client = new OpenAI({
    baseURL: request.baseURL + "/v1",
    apiKey: request.apiKey,
    defaultHeaders: request.headers,
    maxRetries: request.max_retries,
    fetch,
  });
  return { chat, responses }[request.dialect](client, request);
});
