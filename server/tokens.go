package server

import (
	"context"
	"sync/atomic"

	"penstock/config"
)

// tokens are those in force; they can change while requests come in.
type tokens struct {
	list atomic.Pointer[[]config.Token]
}

func newTokens(list []config.Token) *tokens {
	t := &tokens{}
	t.list.Store(&list)
	return t
}

func (t *tokens) now() []config.Token { return *t.list.Load() }

// follow takes what comes until ctx ends; renewed is told of it before anyone
// gets in by it. Whether a token is needed at all stays as it was: the addresses
// were opened for that.
func (t *tokens) follow(ctx context.Context, in <-chan []config.Token, renewed func([]config.Token)) {
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
