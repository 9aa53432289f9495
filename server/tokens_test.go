package server

import (
	"context"
	"crypto/sha256"
	"net"
	"strings"
	"testing"

	"penstock/config"
)

func TestNewTokensTakeEffect(t *testing.T) {
	token := func(name, secret string) config.Token {
		return config.Token{Name: name, SHA256: sha256.Sum256([]byte(secret))}
	}
	c := testConfig(t)
	c.Tokens = []config.Token{token("alice", "old")}
	ctx, stop := context.WithCancel(context.Background())
	s := &served{t: t, stop: stop, err: make(chan error, 1)}
	ready, renewed := make(chan net.Addr, 1), make(chan []config.Token)
	go func() {
		s.err <- Run(ctx, c, Options{Ready: func(a []net.Addr) { ready <- a[0] }, Tokens: renewed})
	}()
	select {
	case a := <-ready:
		s.url = "http://" + a.String()
	case err := <-s.err:
		stop()
		if strings.Contains(err.Error(), "no cgroup v2 tree") {
			t.Skipf("this machine has no cgroup v2 tree to make groups in: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	models := func(secret string) int {
		return s.ask("GET", "/v1/models", "", "Authorization", "Bearer "+secret).status
	}
	if a, b := models("old"), models("new"); a != 200 || b != 401 {
		t.Fatalf("before: %d with the old token, %d with the new one", a, b)
	}
	renewed <- []config.Token{token("alice", "new"), token("bob", "bob's")}
	eventually(t, "the new token is taken", func() bool { return models("new") == 200 })
	if a, b := models("old"), models("bob's"); a != 401 || b != 200 {
		t.Errorf("after: %d with the old token, %d with bob's", a, b)
	}
	if r := s.ask("GET", "/metrics", "", "Authorization", "Bearer bob's"); !strings.Contains(r.body, `penstock_queue_waiting{client="bob"} 0`) {
		t.Error("metrics don't know bob")
	}
	renewed <- nil
	// Received once it takes another one.
	renewed <- []config.Token{token("eve", "eve's")}
	eventually(t, "eve's token is taken", func() bool { return models("eve's") == 200 })
	if r := s.ask("GET", "/v1/models", ""); r.status != 401 {
		t.Errorf("without a token: %d", r.status)
	}
}
