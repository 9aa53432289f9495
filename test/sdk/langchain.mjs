// LangChain JS: chat and responses by @langchain/openai, messages by @langchain/anthropic.
import { ChatAnthropic } from "@langchain/anthropic";
import { AIMessage, HumanMessage, SystemMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { run } from "./client.mjs";

function openai(request, fetch) {
  return new ChatOpenAI({
    model: request.model,
    apiKey: request.apiKey,
    useResponsesApi: request.dialect === "responses",
    streamUsage: true,
    ...(request.max_retries !== undefined && { maxRetries: request.max_retries }),
    configuration: { baseURL: request.baseURL + "/v1", defaultHeaders: request.headers, fetch },
  });
}

function anthropic(request, fetch) {
  return new ChatAnthropic({
    model: request.model,
    apiKey: request.apiKey,
    anthropicApiUrl: request.baseURL,
    maxTokens: 4096,
    ...(request.max_retries !== undefined && { maxRetries: request.max_retries }),
    clientOptions: { defaultHeaders: request.headers, fetch },
  });
}

function user(turn) {
  if (!turn.image) return new HumanMessage(turn.text);
  const image = { type: "image_url", image_url: { url: turn.image } };
  return new HumanMessage({ content: [{ type: "text", text: turn.text }, image] });
}

const joined = (content) =>
  typeof content === "string" ? content : content.map((block) => block.text ?? "").join("");

function take(seen, message) {
  const { response_metadata: meta = {}, additional_kwargs: more = {} } = message;
  seen.reasoning = more.reasoning_content ?? more.reasoning?.summary?.map((part) => part.text).join("") ?? "";
  if (Array.isArray(message.content))
    seen.reasoning ||= message.content.map((block) => block.thinking ?? block.reasoning ?? "").join("");
  seen.finish = meta.finish_reason ?? meta.stop_reason ?? more.stop_reason ?? meta.incomplete_details?.reason ?? meta.status ?? null;
  seen.usage = message.usage_metadata ?? null;
  seen.id = meta.id ?? message.id ?? null;
  seen.tools = (message.tool_calls ?? []).map(({ name, args: input }) => ({ name, input }));
}

await run((request, fetch) => {
  const model = (request.dialect === "messages" ? anthropic : openai)(request, fetch);
  let messages = request.system ? [new SystemMessage(request.system)] : [];
  let last = null;
  return async (turn, seen, signal) => {
    const byID = request.memory === "previous_response_id" && last;
    messages = byID ? [user(turn)] : [...messages, user(turn)];
    const options = { signal };
    if (byID) options.previous_response_id = last;
    if (request.schema) {
      // Its other ways ask for a schema by a tool that must be called.
      const held = model.withStructuredOutput(request.schema, { method: "jsonSchema", name: "answer", includeRaw: true });
      const { raw, parsed } = await held.invoke(messages, options);
      take(seen, raw);
      seen.text = JSON.stringify(parsed);
      return;
    }
    let answer;
    if (turn.stream) {
      for await (const chunk of await model.stream(messages, options)) {
        seen.event("chunk");
        seen.delta(joined(chunk.content));
        answer = answer?.concat(chunk) ?? chunk;
      }
    } else {
      answer = await model.invoke(messages, options);
      seen.text = joined(answer.content);
    }
    take(seen, answer);
    last = seen.id;
    messages = [...messages, AIMessage.isInstance(answer) ? answer : new AIMessage(answer)];
  };
});
