package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"penstock/config"
)

const Anonymous = "anonymous"

// identify returns which client asks. Tokens are compared by their hashes, all of them, so
// that the time tells nothing about which was near.
func identify(r *http.Request, tokens []config.Token) (client string, operator bool, err error) {
	if name, ok := bearer(r, tokens); ok {
		return name, false, nil
	}
	p := peerOf(r.Context())
	switch {
	case p.unix && p.known:
		return "uid:" + strconv.FormatUint(uint64(p.uid), 10), p.operator(), nil
	case len(tokens) == 0:
		// No client has a name here, so none has secrets from another.
		return Anonymous, true, nil
	}
	e := Errorf(InvalidAPIKey, "a valid token is needed: Authorization: Bearer <token>")
	e.Header = http.Header{"Www-Authenticate": {`Bearer realm="penstock"`}}
	return "", false, e
}

func bearer(r *http.Request, tokens []config.Token) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	found, name := 0, ""
	for _, t := range tokens {
		if subtle.ConstantTimeCompare(sum[:], t.SHA256[:]) == 1 {
			found, name = 1, t.Name
		}
	}
	return name, found == 1
}

// needsNoToken: monitors have none, and a page has to be there before a token can be
// entered. What is in them is no secret.
func needsNoToken(path string) bool {
	switch path {
	case "/health", "/livez", "/readyz", "/openapi.json", "/ui":
		return true
	}
	return strings.HasPrefix(path, "/ui/")
}

// answersFromReserve are replies from memory.
func answersFromReserve(path string) bool {
	return path == "/health" || path == "/livez" || path == "/readyz"
}

// Tokens are those in force; they can change while requests come in.
type Tokens struct {
	list atomic.Pointer[[]config.Token]
}

func NewTokens(list []config.Token) *Tokens {
	t := &Tokens{}
	t.list.Store(&list)
	return t
}

func (t *Tokens) now() []config.Token { return *t.list.Load() }

// Follow takes what comes until ctx ends; renewed is called with it before any client
// gets in by it. Whether a token is needed at all stays as it was: the addresses
// were opened for that.
func (t *Tokens) Follow(ctx context.Context, in <-chan []config.Token, renewed func([]config.Token)) {
	for {
		select {
		case <-ctx.Done():
			return
		case list, open := <-in:
			if !open {
				return
			}
			if len(list) > 0 && len(t.now()) > 0 {
				renewed(list)
				t.list.Store(&list)
			}
		}
	}
}
