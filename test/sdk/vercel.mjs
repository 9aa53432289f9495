// The Vercel AI SDK: chat by @ai-sdk/openai-compatible, responses by @ai-sdk/openai (its
// default), messages by @ai-sdk/anthropic.
//
// A later turn is sent as the SDK's documentation says: with the messages that the answer
// before came as. Of responses that are references to items, but for memory "text".
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, streamText } from "ai";
import { run } from "./client.mjs";

const provider = {
  // Without supportsStructuredOutputs the schema isn't sent.
  chat: (at) => createOpenAICompatible({ ...at, name: "penstock", includeUsage: true, supportsStructuredOutputs: true }),
  responses: (at) => createOpenAI(at),
  messages: (at) => createAnthropic(at),
};

function options(request, last) {
  const openai = {};
  if (request.memory === "text") openai.store = false;
  if (request.memory === "previous_response_id" && last) openai.previousResponseId = last;
  // Of a model whose name it doesn't know it else asks for a schema by a tool that must be called.
  return { openai, anthropic: { structuredOutputMode: "outputFormat" } };
}

function user(turn) {
  if (!turn.image) return { role: "user", content: turn.text };
  return { role: "user", content: [{ type: "text", text: turn.text }, { type: "image", image: turn.image }] };
}

function tools(seen, calls, results) {
  const output = new Map(results.map((r) => [r.toolCallId, r.output]));
  seen.tools = calls.map((c) => ({ name: c.toolName, input: c.input, output: output.get(c.toolCallId), error: null }));
}

async function streamed(ask, seen) {
  const result = streamText({ ...ask, onError() {} });
  const calls = [];
  const results = [];
  for await (const part of result.fullStream) {
    seen.event(part.type);
    if (part.type === "text-delta") seen.delta(part.text);
    if (part.type === "reasoning-delta") seen.reasoning += part.text;
    if (part.type === "tool-call") calls.push(part);
    if (part.type === "tool-result") results.push(part);
    if (part.type === "error") seen.error = part.error;
  }
  tools(seen, calls, results);
  if (seen.error) throw seen.error;
  if (ask.abortSignal.aborted) return {};
  return { finishReason: await result.finishReason, usage: await result.totalUsage, response: await result.response };
}

async function whole(ask, seen) {
  const result = await generateText(ask);
  seen.text = result.text;
  seen.reasoning = result.reasoningText ?? "";
  tools(seen, result.toolCalls, result.toolResults);
  return result;
}

await run((request, fetch) => {
  const at = { baseURL: request.baseURL + "/v1", apiKey: request.apiKey, headers: request.headers, fetch };
  const model = provider[request.dialect](at)(request.model);
  let messages = [];
  let last = null;
  return async (turn, seen, abortSignal) => {
    const providerOptions = options(request, last);
    const byID = providerOptions.openai.previousResponseId;
    messages = byID ? [user(turn)] : [...messages, user(turn)];
    const ask = { model, messages, abortSignal, providerOptions, system: request.system };
    if (request.max_retries !== undefined) ask.maxRetries = request.max_retries;
    if (request.schema) ask.output = Output.object({ schema: jsonSchema(request.schema) });
    const { finishReason, usage, response } = await (turn.stream ? streamed : whole)(ask, seen);
    seen.finish = finishReason ?? null;
    seen.usage = usage ?? null;
    seen.id = last = response?.id ?? null;
    messages = [...messages, ...(response?.messages ?? [])];
  };
});
