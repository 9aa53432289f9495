// Package web is what any HTTP service of ours needs and net/http doesn't have. It
// knows no run: routes and handlers are the server's.
//
//	http.Server
//	  └ Front.Middleware   middleware.go   request id, log line, metrics, panics
//	      ├ OriginCheck    origin.go       Host, Origin, CORS, Content-Type
//	      ├ Peer, Tokens   peer.go auth.go which client asks
//	      └ Route(handler) middleware.go   a handler returns its failure:
//	          ├ Intake     intake.go body.go decode.go   read a body, bounded in memory and time
//	          ├ Reply, SSE reply.go sse.go     write an answer, each piece with a deadline; an event's
//	          │                            number is its id
//	          ├ JSON       json.go fields.go   big bodies, and fields that are no copies
//	          └ Error      errors.go codes.go  what failed, and the one table of failures
//	                       shape.go            as a client of OpenAI's, or of Anthropic's API is told it
//
// RequestInfo (requestinfo.go) is what all of them note for the line in accesslog.go.
package web
