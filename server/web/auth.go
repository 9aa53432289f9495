package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"penstock/config"
)

const Anonymous = "anonymous"

// identify returns which client asks.
func identify(r *http.Request, tokens []config.Token) (client string, operator bool, err error) {
	switch names := named(r, tokens); {
	case len(names) == 1:
		return names[0], false, nil
	case len(names) > 1:
		return "", false, unauthorized("Authorization and x-api-key have tokens of two clients, %q and %q: send one of them", names[0], names[1])
	}
	p := peerOf(r.Context())
	switch {
	case p.unix && p.known:
		return "uid:" + strconv.FormatUint(uint64(p.uid), 10), p.operator(), nil
	case len(tokens) == 0:
		// No client has a name here, so none has secrets from another.
		return Anonymous, true, nil
	}
	return "", false, unauthorized("a valid token is needed: Authorization: Bearer <token>, or x-api-key: <token>")
}

func unauthorized(format string, args ...any) *Error {
	e := Errorf(InvalidAPIKey, format, args...)
	e.Header = http.Header{"Www-Authenticate": {`Bearer realm="penstock"`}}
	return e
}

// named are the clients whose tokens a request has, one where both headers have the same
// client's. A token that is none of ours counts for nothing: an Anthropic client that was
// given one may send beside it the key to Anthropic that its environment has.
func named(r *http.Request, tokens []config.Token) (names []string) {
	var sent []string
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		sent = append(sent, token)
	}
	if key := r.Header.Get("X-Api-Key"); key != "" {
		sent = append(sent, key)
	}
	for _, token := range sent {
		if name, ok := find(token, tokens); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// find compares a token with all by their hashes, so that the time tells nothing about which
// was near.
func find(token string, tokens []config.Token) (name string, ok bool) {
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	for _, t := range tokens {
		if subtle.ConstantTimeCompare(sum[:], t.SHA256[:]) == 1 {
			name, ok = t.Name, true
		}
	}
	return name, ok
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
