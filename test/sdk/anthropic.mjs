// The Anthropic SDK: messages.
import Anthropic from "@anthropic-ai/sdk";
import { run } from "./client.mjs";

// maxTokens is what the dialect demands.
const maxTokens = 4096;

function user(turn) {
  if (!turn.image) return { role: "user", content: turn.text };
  const [, media_type, data] = /^data:([^;]+);base64,(.*)$/.exec(turn.image);
  const image = { type: "image", source: { type: "base64", media_type, data } };
  return { role: "user", content: [{ type: "text", text: turn.text }, image] };
}

// tell takes a whole message.
function tell(seen, message) {
  if (message.type === "error") {
    seen.failure = message.error; // a reply that had begun before its run failed
    return;
  }
  seen.id = message.id;
  seen.finish = message.stop_reason;
  seen.usage = message.usage;
  const results = new Map(message.content.filter((b) => b.type === "mcp_tool_result").map((b) => [b.tool_use_id, b]));
  for (const block of message.content) {
    if (block.type === "text") seen.text += block.text;
    if (block.type === "thinking") seen.reasoning += block.thinking;
    if (block.type !== "mcp_tool_use") continue;
    const result = results.get(block.id);
    const output = typeof result?.content === "string" ? result.content : result?.content?.map((b) => b.text).join("");
    seen.tools.push({ name: block.name, input: block.input, output, error: result?.is_error || null });
  }
}

function take(seen, event) {
  seen.event(event.type === "content_block_delta" ? event.delta.type : event.type);
  if (event.delta?.type === "text_delta") seen.delta(event.delta.text);
}

// assemble makes a message of a plain stream's events, which the SDK leaves to the application.
function assemble(message, event) {
  if (event.type === "message_start") return event.message;
  if (event.type === "content_block_start") message.content[event.index] = { ...event.content_block };
  if (event.type === "message_delta") {
    Object.assign(message, { stop_reason: event.delta.stop_reason, usage: { ...message.usage, ...event.usage } });
  }
  if (event.type === "content_block_delta") {
    const { type, ...piece } = event.delta;
    const block = message.content[event.index];
    for (const [field, text] of Object.entries(piece)) block[field] = (block[field] ?? "") + text;
  }
  return message;
}

await run((request, fetch) => {
  const client = new Anthropic({
    baseURL: request.baseURL,
    apiKey: request.apiKey,
    defaultHeaders: request.headers,
    maxRetries: request.max_retries,
    fetch,
  });
  const messages = [];
  return async (turn, seen, signal) => {
    messages.push(user(turn));
    const body = { model: request.model, max_tokens: maxTokens, messages: [...messages], ...request.extra };
    if (request.system) body.system = request.system;
    if (request.schema) body.output_config = { format: { type: "json_schema", schema: request.schema } };
    let message;
    if (!turn.stream) {
      message = await client.messages.create(body, { signal });
    } else if (request.helper) {
      const stream = client.messages.stream(body, { signal });
      for await (const event of stream) take(seen, event);
      message = await stream.finalMessage();
    } else {
      for await (const event of await client.messages.create({ ...body, stream: true }, { signal })) {
        take(seen, event);
        message = assemble(message, event);
      }
    }
    seen.text = "";
    tell(seen, message);
    if (message.content) messages.push({ role: "assistant", content: message.content });
  };
});
