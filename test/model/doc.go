// Package model is a scripted model server for the end-to-end tests: the real
// command line agents are pointed at it and steered by markers in their prompt.
//
// It speaks Anthropic Messages, OpenAI Responses, OpenAI Chat Completions and
// Gemini generateContent, streaming and whole. The script is chosen by the last
// user text that bears a marker; of a marker given twice the last one counts:
//
//	SCN=text      N deltas "tok0 tok1 ", then what SAY and RECALL ask for, then
//	              "marked-user-turns=M" (M user texts bore a marker: proves resume)
//	SCN=only      what SAY asks for and no other word
//	SCN=long      the same with N=200 DELAY=50
//	SCN=tool      call the shell tool the request offers with CMD{{...}}, or any tool with
//	              CALL{{name {"its":"arguments"}}}, of several one after the other, each
//	              after LEAD{{text}}; once the last result is in the conversation, answer
//	              "tool-said: <first line>"
//	SCN=later     as text; once the CLI has answered that by itself, as tool
//	SCN=think     N reasoning deltas, then as text
//	SCN=empty     a complete answer without content
//	SCN=cut       as text, but the provider ended it at the token limit
//	SCN=refusal   N deltas (default none), and the provider refused for safety; of
//	              Gemini no deltas is a prompt that was blocked
//	SCN=halves    as text, with "\U0001F600" after the counted deltas, half of its
//	              surrogate pair in one delta and half in the next
//	SCN=hang      N deltas if N is given, then silence until the client leaves
//	SCN=mid       N deltas, then the protocol's in-stream error
//	SCN=abrupt    N deltas, then a TCP reset
//	SCN=void      N deltas "void0 void1 ", then a break; the next request with the
//	              same text gets a whole answer. BREAK=reset|event chooses how
//	              (default: reset, and event for Gemini, whose CLI does not retry
//	              a reset). Two runs at once need different texts.
//	SCN=e400|e401|e403|e404|e429|e500|e503|e529   that status, in the provider's shape
//
//	N=<deltas>  DELAY=<ms between deltas>  SAY{{text}}
//	THEN{{text}} is said in SAY's place once the text has been answered
//	SEES: the answer has "sees:" and the SHA-256 of each image of the text's turn, in order;
//	an image is any data beside text: pictures, PDFs, and what tools gave of them
//	REMEMBER{{x}} in an earlier user text and RECALL in the last: the answer has x
package model
