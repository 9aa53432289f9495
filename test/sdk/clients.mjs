// Stock clients of other makers, as an application uses them: one prompt, and what
// came of it. Run it with the node of test/clis; the packages are those of
// test/sdk/install.
//
// stdin, one JSON object:
//   client           "ai" (Vercel) or "langchain"
//   baseURL, model, prompt, stream
// stdout: {"text","error":null|{"message"}}
// The exit code is 0 whenever that line was written.
import { text as read } from "node:stream/consumers";

const args = JSON.parse(await read(process.stdin));

const clients = {
  async ai() {
    const { generateText, streamText } = await import("ai");
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const model = createOpenAICompatible({ name: "penstock", baseURL: args.baseURL, apiKey: "none" })(args.model);
    if (!args.stream) return (await generateText({ model, prompt: args.prompt })).text;
    let text = "";
    for await (const part of streamText({ model, prompt: args.prompt, onError() {} }).fullStream) {
      if (part.type === "text-delta") text += part.text;
      if (part.type === "error") throw part.error;
    }
    return text;
  },
  async langchain() {
    const { ChatOpenAI } = await import("@langchain/openai");
    const model = new ChatOpenAI({ model: args.model, apiKey: "none", configuration: { baseURL: args.baseURL } });
    if (!args.stream) return (await model.invoke(args.prompt)).content;
    let text = "";
    for await (const chunk of await model.stream(args.prompt)) text += chunk.content;
    return text;
  },
};

const result = { text: "", error: null };
try {
  result.text = await clients[args.client]();
} catch (err) {
  result.error = { message: err?.message ?? JSON.stringify(err) };
}
process.stdout.write(JSON.stringify(result) + "\n");
process.exit(0); // LangChain leaves timers behind
