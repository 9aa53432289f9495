package web

import (
	"context"
	"crypto/sha256"
	"net/http/httptest"
	"testing"

	"penstock/config"
)

func TestIdentify(t *testing.T) {
	tokens := []config.Token{{Name: "bot", SHA256: sha256.Sum256([]byte("secret-1"))}, {Name: "ide", SHA256: sha256.Sum256([]byte("secret-2"))}}
	root, user := peer{unix: true, known: true}, peer{unix: true, known: true, uid: 4242}
	for _, row := range []struct {
		name, header, key string
		tokens            []config.Token
		peer              peer
		client            string
		operator          bool
	}{
		{"first", "Bearer secret-1", "", tokens, peer{}, "bot", false},
		{"second", "bearer  secret-2", "", tokens, peer{}, "ide", false},
		{"wrong", "Bearer secret-3", "", tokens, peer{}, "", false},
		{"prefix", "Bearer secret-", "", tokens, peer{}, "", false},
		{"none", "", "", tokens, peer{}, "", false},
		{"basic", "Basic secret-1", "", tokens, peer{}, "", false},
		{"nothing configured", "", "", nil, peer{}, "anonymous", true},
		{"nothing configured, any key", "Bearer sk-whatever", "", nil, peer{}, "anonymous", true},
		{"unix", "", "", tokens, user, "uid:4242", false},
		{"unix root", "Bearer sk-whatever", "", tokens, root, "uid:0", true},
		{"unix with token", "Bearer secret-1", "", tokens, user, "bot", false},
		{"unix without credentials", "", "", tokens, peer{unix: true}, "", false},
		{"key", "", "secret-1", tokens, peer{}, "bot", false},
		{"wrong key", "", "secret-3", tokens, peer{}, "", false},
		{"key with a scheme", "", "Bearer secret-1", tokens, peer{}, "", false},
		{"the same twice", "Bearer secret-1", "secret-1", tokens, peer{}, "bot", false},
		{"key, and another's bearer", "Bearer sk-elsewhere", "secret-2", tokens, peer{}, "ide", false},
		{"bearer, and another's key", "Bearer secret-2", "sk-ant-elsewhere", tokens, peer{}, "ide", false},
		{"two clients", "Bearer secret-1", "secret-2", tokens, peer{}, "", false},
		{"two clients on unix", "Bearer secret-1", "secret-2", tokens, root, "", false},
		{"nothing configured, any x-api-key", "", "sk-ant-whatever", nil, peer{}, "anonymous", true},
		{"unix with any key", "", "sk-ant-whatever", tokens, user, "uid:4242", false},
		{"unix with a token as key", "", "secret-1", tokens, user, "bot", false},
	} {
		r := httptest.NewRequest("GET", "/v1/runs", nil)
		if row.header != "" {
			r.Header.Set("Authorization", row.header)
		}
		if row.key != "" {
			r.Header.Set("X-Api-Key", row.key)
		}
		client, operator, err := identify(r.WithContext(context.WithValue(r.Context(), peerKey, row.peer)), row.tokens)
		if client != row.client || operator != row.operator || (err != nil) != (row.client == "") {
			t.Errorf("%s: %q %v %v, want %q %v", row.name, client, operator, err, row.client, row.operator)
		}
	}
}

func TestTokens_Follow_EmptyList(t *testing.T) {
	some := []config.Token{{Name: "alice"}}
	for _, tt := range []struct{ was, come []config.Token }{{some, nil}, {nil, some}} {
		in := make(chan []config.Token, 1)
		in <- tt.come
		close(in)
		x := NewTokens(tt.was)
		x.Follow(t.Context(), in, func([]config.Token) { t.Error("told of tokens that are not taken") })
		if len(x.now()) != len(tt.was) {
			t.Errorf("%d tokens became %d", len(tt.was), len(x.now()))
		}
	}
}
