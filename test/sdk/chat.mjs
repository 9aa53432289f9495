// A stock OpenAI Node SDK client for the end-to-end tests. Run it with the node
// of test/clis; it takes the SDK from there too.
//
// stdin, one JSON object:
//   baseURL, model, messages   as the SDK takes them
//   apiKey                     default "none"
//   stream                     default true
//   helper                     true: chat.completions.stream() instead of create()
//   extra                      more fields of the request body
//   headers                    more request headers
//   max_retries                default: the SDK's own
//   abort_after_ms             abort that long after the request was sent
// stdout: {"t":<ms since start>,"chunk":{...}} for each chunk, and at last
//   {"text","finish_reason","usage","chunks","error":null|{code,type,message,status,name}}
// The exit code is 0 whenever that last line was written.
import { createRequire } from "node:module";
import { text as read } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const clis = createRequire(new URL("../clis/package.json", import.meta.url));
const { default: OpenAI } = await import(pathToFileURL(clis.resolve("openai")));

const start = performance.now();
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function shape(err) {
  const { code, type, message, status } = err;
  return { code: code ?? null, type: type ?? null, message, status: status ?? null, name: err.constructor.name };
}

function take(result, chunk) {
  print({ t: Math.round(performance.now() - start), chunk });
  result.chunks++;
  const choice = chunk.choices?.[0];
  result.text += choice?.delta?.content ?? "";
  result.finish_reason = choice?.finish_reason ?? result.finish_reason;
  result.usage = chunk.usage ?? result.usage;
}

async function streamed(client, body, options, helper, result) {
  if (!helper) {
    for await (const chunk of await client.chat.completions.create(body, options)) take(result, chunk);
    return;
  }
  const stream = client.chat.completions.stream(body, options);
  for await (const chunk of stream) take(result, chunk);
  await stream.finalChatCompletion();
}

async function whole(client, body, options, result) {
  const done = await client.chat.completions.create(body, options);
  const choice = done.choices?.[0];
  result.text = choice?.message?.content ?? "";
  result.finish_reason = choice?.finish_reason ?? null;
  result.usage = done.usage ?? null;
}

const args = JSON.parse(await read(process.stdin));
const client = new OpenAI({
  baseURL: args.baseURL,
  apiKey: args.apiKey ?? "none",
  defaultHeaders: args.headers,
  maxRetries: args.max_retries,
});
const stream = args.stream ?? true;
const body = { model: args.model, messages: args.messages, ...args.extra };
const options = {};
if (args.abort_after_ms !== undefined) options.signal = AbortSignal.timeout(args.abort_after_ms);

const result = { text: "", finish_reason: null, usage: null, chunks: 0, error: null };
try {
  if (!stream) await whole(client, body, options, result);
  else await streamed(client, args.helper ? body : { ...body, stream: true }, options, args.helper, result);
  // The raw stream ends without an error when it is aborted.
  if (options.signal?.aborted) result.error = shape(new OpenAI.APIUserAbortError());
} catch (err) {
  result.error = shape(err);
}
print(result);
