package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"strings"

	"penstock/config"
)

const anonymous = "anonymous"

// identify says who asks. Tokens are compared by their hashes, all of them, so
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
		// Nobody has a name here, so nobody has secrets from another.
		return anonymous, true, nil
	}
	e := refusal(http.StatusUnauthorized, "invalid_api_key", "a valid token is needed: Authorization: Bearer <token>")
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

// needsNoToken: watchers have none, and a page has to be there before anybody
// can enter one. What is in them is no secret.
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

// admitRequest is the door: where it comes from, then who it is.
func (d *daemon) admitRequest(x *requestInfo, r *http.Request) error {
	if err := d.originCheck.check(r); err != nil {
		return err
	}
	if peerOf(r.Context()).reserved && !answersFromReserve(r.URL.Path) {
		return noDescriptors()
	}
	client, operator, err := identify(r, d.tokens.now())
	if err != nil && !needsNoToken(r.URL.Path) {
		return err
	}
	x.client, x.operator = client, operator || d.operators[client]
	return nil
}
