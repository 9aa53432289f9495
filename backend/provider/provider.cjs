// Loaded into a CLI by node's --require or Bun's BUN_INSPECT_PRELOAD. The CLIs
// keep to themselves that a model call is tried again (the text of a broken
// stream and that of the next attempt come with nothing between), the provider's
// HTTP status, and that an answer was cut at the token limit. This tells them on
// stdout, as lines of their own. Nothing of what passes through is changed.
"use strict"
const options = process.env.NODE_OPTIONS
delete process.env.NODE_OPTIONS // the tools of the agent must not load this
delete process.env.BUN_INSPECT_PRELOAD
const tellModels = process.env.TELL_MODELS
delete process.env.TELL_MODELS

// Where the operator lets gemini start itself anew, its second process needs
// this too, and the first makes an exit status of 1 of the other's death by a
// signal: it shall die as that one did.
const children = require("node:child_process")
const { spawn } = children
if (options) {
  children.spawn = (command, args, more) => {
    if (command !== process.execPath || !args?.includes?.(process.argv[1])) return spawn(command, args, more)
    const child = spawn(command, args, { ...more, env: { ...(more?.env ?? process.env), NODE_OPTIONS: options } })
    child.once("exit", (code, signal) => {
      if (!signal) return
      process.removeAllListeners(signal)
      process.kill(process.pid, signal)
    })
    return child
  }
  require("node:module").syncBuiltinESMExports()
}

const { fetch } = globalThis
const write = process.stdout.write.bind(process.stdout) // before the CLI replaces it
const tell = (what, more) => write(JSON.stringify({ type: "provider_" + what, ...more }) + "\n")
const cause = (error) => String(error?.cause?.message ?? error?.message ?? error)

// The agent's own calls stream and offer tools; titles and summaries don't, and
// opencode names the parent in those of a subagent.
function ofAgent(input, init) {
  const url = String(input?.url ?? input)
  if (/:streamGenerateContent\b/.test(url)) return true
  return (
    /\/(chat\/completions|messages|responses)(\?|$)/.test(url) &&
    typeof init?.body === "string" &&
    /"tools":\s*\[\s*\{/.test(init.body) &&
    !new Headers(init.headers).has("x-parent-session-id")
  )
}

// opencode asks its own server for the models that its logins give, before it opens a
// session, and tells its client of none which takes images.
async function models(response) {
  const takes = { sees: [], blind: [] }
  const { providers } = await response.json()
  for (const { id, models } of providers)
    for (const model of Object.values(models)) takes[model.capabilities.input.image ? "sees" : "blind"].push(id + "/" + model.id)
  tell("models", takes)
}

const watchedFetch = async (input, init) => {
  if (tellModels && /\/config\/providers(\?|$)/.test(input?.url ?? input)) {
    const response = await fetch(input, init)
    await models(response.clone()).catch(() => {}) // untold is unknown
    return response
  }
  if (!ofAgent(input, init)) return fetch(input, init)
  tell("call")
  const response = await fetch(input, init).catch((error) => {
    tell("broken", { message: cause(error) })
    throw error
  })
  if (!response.ok) tell("refused", { code: response.status, message: await reason(response.clone()) })
  if (!response.ok || !response.body) return response
  const unfinished = /:streamGenerateContent\b/.test(input?.url ?? input) ? "the stream ended without a finish reason" : ""
  return new Response(watched(response.body.getReader(), unfinished), response)
}
globalThis.fetch = Object.assign(watchedFetch, fetch)

async function reason(response) {
  const text = await response.text().catch(cause)
  try {
    const { error, message } = JSON.parse(text)
    return String(error.message ?? message ?? text).slice(0, 4000)
  } catch {
    return text.slice(0, 4000)
  }
}

// A stream that breaks, tells an error, or ends with the finish reason of a call
// that was no use, is one the CLI tries again; gemini also one without such a
// reason: that is what unfinished says.
function watched(reader, unfinished) {
  const decoder = new TextDecoder()
  let tail = ""
  let finish = ""
  let broken = ""
  let over = false
  let event = ""
  const see = (line) => {
    event = /^event:\s*(\S+)/.exec(line)?.[1] ?? event
    finish = /^response\.(completed|incomplete)$/.exec(event)?.[1] ?? finish
    finish = /(?<!\\)"(?:finishReason|finish_reason|stop_reason)"\s*:\s*"(\w+)"/.exec(line)?.[1] ?? finish
    // Responses tell why an answer is incomplete, Gemini that the prompt itself was refused.
    finish = /(?<!\\)"incomplete_details"\s*:\s*\{\s*"reason"\s*:\s*"(\w+)"/.exec(line)?.[1] ?? finish
    if (/(?<!\\)"blockReason"\s*:\s*"\w+"/.test(line)) finish = "BLOCKED"
    if (/^data:\s*\{\s*"error"/.test(line) || (/^data:/.test(line) && /^(error|response\.failed)$/.test(event)))
      broken = /(?<!\\)"message"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? line.slice(0, 1000)
  }
  const ended = (message) => {
    if (over) return
    over = true
    see(tail)
    if (/^(MALFORMED|UNEXPECTED)/.test(finish)) broken ||= finish
    message = broken || message || (finish ? "" : unfinished)
    if (message) tell("broken", { message })
    else tell("finished", { reason: finish })
  }
  const source = {
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (done) {
          ended("")
          return controller.close()
        }
        const lines = (tail + decoder.decode(value, { stream: true })).split("\n")
        tail = lines.pop()
        lines.forEach(see)
        controller.enqueue(value)
      } catch (error) {
        ended(cause(error))
        controller.error(error)
      }
    },
    cancel(why) {
      see(tail)
      ended(finish ? "" : "the CLI left the stream")
      return reader.cancel(why)
    },
  }
  // Nothing is read ahead: an error would take what the CLI has not read yet.
  return new ReadableStream(source, { highWaterMark: 0 })
}
