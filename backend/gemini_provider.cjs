// Loaded into gemini by node's --require. Its print mode keeps to itself that a
// model call is tried again (the text of a broken stream and that of the next
// attempt come with nothing between), the provider's HTTP status, and that an
// answer was cut at the token limit. This tells them on stdout, as lines of the
// CLI's own form. Nothing of what passes through is changed.
"use strict"
const options = process.env.NODE_OPTIONS
delete process.env.NODE_OPTIONS // the tools of the agent must not load this

// Where the operator lets the CLI start itself anew, its second process needs
// this too, and the first makes an exit status of 1 of the other's death by a
// signal: it shall die as that one did.
const children = require("node:child_process")
const { spawn } = children
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

const { fetch } = globalThis
const write = process.stdout.write.bind(process.stdout) // before the CLI replaces it
const tell = (what, more) => write(JSON.stringify({ type: "provider_" + what, ...more }) + "\n")

globalThis.fetch = async (input, init) => {
  if (!/:streamGenerateContent\b/.test(input?.url ?? input)) return fetch(input, init)
  tell("call")
  const response = await fetch(input, init).catch((error) => {
    tell("broken", { message: String(error.cause?.message ?? error.message) })
    throw error
  })
  if (!response.ok) tell("refused", { code: response.status })
  if (!response.ok || !response.body) return response
  return new Response(watched(response.body.getReader()), response)
}

// A stream that ends without a finish reason, or with one of a call that was no
// use, is one the CLI tries again.
function watched(reader) {
  const decoder = new TextDecoder()
  let tail = ""
  let finish = ""
  const ended = (message) => {
    if (message || !finish || /^(MALFORMED|UNEXPECTED)/.test(finish)) tell("broken", { message: message || finish })
    else tell("finished", { reason: finish })
  }
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (done) {
          ended("")
          return controller.close()
        }
        tail += decoder.decode(value, { stream: true })
        for (const found of tail.matchAll(/[^\\]"finishReason"\s*:\s*"(\w+)"/g)) finish = found[1]
        tail = tail.slice(-80)
        controller.enqueue(value)
      } catch (error) {
        ended(String(error.cause?.message ?? error.message))
        controller.error(error)
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
}
