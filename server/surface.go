package server

import (
	"net/http"
	"slices"
	"strings"

	"penstock/server/anthropic"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

// surface is a dialect in which a run can be asked for.
type surface struct {
	dialect.Dialect
	name   string // as in ?as= and capabilities
	decode func(body []byte, h http.Header) (*dialect.Request, error)
}

// surfaces are all of them.
func surfaces() []surface {
	return []surface{
		{openai.Chat{}, "chat", openai.DecodeChat},
		{openai.Responses{}, "responses", openai.DecodeResponses},
		{anthropic.Messages{}, "messages", anthropic.DecodeMessages},
	}
}

// surfaceOf is the one of a name; "" is chat.
func surfaceOf(name string) (surface, bool) {
	all := surfaces()
	if name == "" {
		return all[0], true
	}
	i := slices.IndexFunc(all, func(s surface) bool { return s.name == name })
	if i < 0 {
		return surface{}, false
	}
	return all[i], true
}

func surfaceNames() (names []string) {
	for _, s := range surfaces() {
		names = append(names, s.name)
	}
	return names
}

// Routes that are more than a line of the table to others.
const (
	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
	modelsPath    = "/v1/models"
)

// shapeOf is how a request is told of its failure, from whatever layer: Anthropic's clients name
// the version of their API, also where their base URL is a wrong one.
func shapeOf(r *http.Request) web.Shape {
	asked := r.URL.Path
	theirs := within(asked, modelsPath) || strings.HasSuffix(asked, "/messages") || strings.HasSuffix(asked, "/models")
	if within(asked, messagesPath) || theirs && r.Header.Get("Anthropic-Version") != "" {
		return web.Anthropic
	}
	return web.OpenAI
}

// within tells whether a path is a route, or below it.
func within(path, route string) bool { return path == route || strings.HasPrefix(path, route+"/") }
