package server

import (
	"net/http"
	"slices"

	"penstock/server/dialect"
	"penstock/server/openai"
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
