#!/bin/sh
# An agent in thirty lines of shell, wrapped for Penstock as `kind = "jsonl"`:
# the prompt is on stdin, one JSON object a line goes to stdout. It counts the
# words it was ever told in a session; docs/adding-a-backend.md walks through it.
set -u

# text on stdin -> the inside of a JSON string
json() {
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' -e 's/$/\\n/' | tr -d '\n\r'
}

say() { printf '{"text":"%s"}\n' "$(printf '%s\n' "$1" | json)"; }

prompt=$(cat)

# What is told here as session comes back in AGENT_SESSION with the next turn,
# and that turn starts in the same directory.
session=${AGENT_SESSION:-tally-$$}
printf '{"session":"%s"}\n' "$session"

case $prompt in
*"give up"*)
	# A failure in words of one's own; without "done" or "error" the run fails too.
	echo '{"error":"told to give up"}'
	exit 1
	;;
esac

words=$(printf '%s' "$prompt" | wc -w | tr -d ' ')
before=$(cat "$session.words" 2>/dev/null || echo 0)
echo $((before + words)) >"$session.words"

say "this turn: $words words"
say "this session: $((before + words)) words"
printf '{"usage":{"prompt_tokens":%s,"completion_tokens":8}}\n' "$words"
echo '{"done":true}'
