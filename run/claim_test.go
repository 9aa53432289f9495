package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
)

// turnOf is a turn of a session whose CLI tells what it calls that.
func turnOf(session, run string, change ...func(*Spec)) Spec {
	return script("echo 's cli-"+session+"'; echo 'd stop'", append([]func(*Spec){inSession(session, func(s *Spec) { s.ID = run })}, change...)...)
}

func whole(t *testing.T, m *Manager, session, run string, change ...func(*Spec)) {
	t.Helper()
	r := start(t, m, turnOf(session, run, change...))
	verdict(t, r, outcome.Completed)
	wait(t, "its end", r.done)
}

// claimed releases what it gets.
func claimed(m *Manager, session, backend, lastRun string) bool {
	lock, ok := m.ClaimSession("tester", session, backend, lastRun)
	lock.Release()
	return ok
}

var talked = Chain{1, 2, 3}

// found is the session that a chain finds, "" is none; what it claims is released.
func found(m *Manager, chain Chain) string {
	session, lock, ok := m.ClaimChain("tester", "agent", chain)
	lock.Release()
	if !ok {
		return ""
	}
	return session
}

// A session is claimed for the turn after its last one, where that was whole.
func TestClaimSession(t *testing.T) {
	m := open(t)
	whole(t, m, "a", "r1")
	whole(t, m, "b", "other")
	whole(t, m, "kept", "durable", func(s *Spec) { s.Durable = true })
	verdict(t, start(t, m, script("echo 'd stop'", inSession("untold", func(s *Spec) { s.ID = "u1" }))), outcome.Completed)
	failed := start(t, m, script("echo 's cli-f'; echo 'f quota'", inSession("failed", func(s *Spec) { s.ID = "f1" })))
	verdict(t, failed, outcome.ProviderError)
	cut := start(t, m, script("echo 's cli-cut'; echo 't words'; sleep 300", inSession("cut", func(s *Spec) { s.ID = "c1" })))
	for !strings.Contains(fmt.Sprint(m.SessionKnown("tester", "cut")), "cli-cut") {
		time.Sleep(time.Millisecond)
	}
	cut.End(outcome.Cancelled)
	verdict(t, cut, outcome.Cancelled)
	for _, r := range []*Run{failed, cut} {
		wait(t, "its end", r.done)
	}
	for name, c := range map[string]struct {
		session, backend, lastRun string
		want                      bool
	}{
		"its last turn":          {"a", "agent", "r1", true},
		"of a durable run":       {"kept", "agent", "durable", true},
		"another session's turn": {"a", "agent", "other", false},
		"a turn that never was":  {"a", "agent", "r0", false},
		"no turn":                {"a", "agent", "", false},
		"another backend":        {"a", "other", "r1", false},
		"no session":             {"none", "agent", "r1", false},
		"no name":                {"untold", "agent", "u1", false},
		"failed":                 {"failed", "agent", "f1", false},
		"cancelled":              {"cut", "agent", "c1", false},
	} {
		if got := claimed(m, c.session, c.backend, c.lastRun); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if lock, ok := m.ClaimSession("another", "a", "agent", "r1"); ok {
		lock.Release()
		t.Error("another client's")
	}
	// Held, awaited, and used.
	lock, ok := m.ClaimSession("tester", "a", "agent", "r1")
	if !ok || claimed(m, "a", "agent", "r1") {
		t.Fatal("claimed twice, or not at all")
	}
	r := start(t, m, turnOf("a", "r2", func(s *Spec) { s.SessionLock = lock }))
	verdict(t, r, outcome.Completed)
	wait(t, "its end", r.done)
	if claimed(m, "a", "agent", "r1") || !claimed(m, "a", "agent", "r2") {
		t.Error("it has had another turn")
	}
	if err := m.Remove("r2"); err != nil || claimed(m, "a", "agent", "r2") {
		t.Errorf("whether its last turn was whole isn't known any more: %v", err)
	}
	if all := m.Sessions("tester"); len(all) != 6 || all[0].LastRun != "" {
		t.Errorf("told to clients: %+v", all)
	}
}

// Nothing but the session's file and its last run's record is needed, and nothing less.
func TestClaimSession_ByTheNextDaemon(t *testing.T) {
	state := t.TempDir()
	t.Run("first", func(t *testing.T) {
		m := open(t, agents, func(o *Options) { o.StateDir = state })
		whole(t, m, "a", "r1")
		whole(t, m, "b", "r2")
		whole(t, m, "d", "r3", func(s *Spec) { s.Discard = true })
		if err := m.DiscardOutput("r3"); err != nil {
			t.Error(err)
		}
	})
	// b is as a daemon of an earlier version leaves it.
	path := filepath.Join(state, "store", "sessions", sessions.Key("tester", "b")+".json")
	if err := os.WriteFile(path, []byte(strings.Replace(read(t, path), `"last_run":"r2"`, `"x":"r2"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	m := reopened(t, state, nil, nil)
	if !claimed(m, "a", "agent", "r1") || claimed(m, "b", "agent", "r2") || claimed(m, "b", "agent", "") || !claimed(m, "d", "agent", "r3") {
		t.Errorf("a %v, b %v, d %v", claimed(m, "a", "agent", "r1"), claimed(m, "b", "agent", "r2"), claimed(m, "d", "agent", "r3"))
	}
	if _, ok := m.SessionKnown("tester", "b"); !ok {
		t.Error("b is not known by its name any more")
	}
}

// Of many claims at once one has the session, by its name or by what was said.
func TestClaim_AtOnce(t *testing.T) {
	m := open(t)
	whole(t, m, "a", "r1")
	if err := m.SetChain("tester", "a", "r1", talked); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		var got atomic.Int32
		var all sync.WaitGroup
		held := make(chan *SessionLock, 12)
		for i := range 12 {
			all.Go(func() {
				lock, ok := (*SessionLock)(nil), false
				switch i % 3 {
				case 0:
					lock, ok = m.ClaimSession("tester", "a", "agent", "r1")
				case 1:
					_, lock, ok = m.ClaimChain("tester", "agent", talked)
				default: // what is no claim takes it from none that is
					if lock, ok := m.ClaimSession("tester", "a", "other", "r1"); ok {
						t.Error("another backend's")
						lock.Release()
					}
				}
				if ok {
					got.Add(1)
					held <- lock
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d have it", got.Load())
		}
		(<-held).Release()
	}
}

// A turn is its session's last one before its process is started, also for the next daemon.
func TestTurn_LastBeforeItsStart(t *testing.T) {
	m := open(t)
	whole(t, m, "a", "r1")
	if err := m.SetChain("tester", "a", "r1", talked); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(m.state.Path, "store", "sessions", sessions.Key("tester", "a")+".json")
	r := start(t, m, script(`grep -q '"last_run":"r2"' `+path+` && ! grep -q chain `+path+` && echo "t last"; echo "d stop"`, inSession("a", func(s *Spec) { s.ID = "r2" })))
	verdict(t, r, outcome.Completed)
	if got := text(events(t, r.Follow(0))); got != "last" {
		t.Errorf("while its process begins: %q, %s", got, read(t, path))
	}
	if got := found(m, talked); got != "" {
		t.Errorf("by what was said before: %q", got)
	}
}

// A start that comes to nothing leaves its session as it was.
func TestTurn_NeverStarted(t *testing.T) {
	state := t.TempDir()
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		whole(t, m, "a", "r1")
		if err := m.SetChain("tester", "a", "r1", talked); err != nil {
			t.Fatal(err)
		}
		for _, session := range []string{"a", "fresh"} {
			if _, err := m.Start(t.Context(), turnOf(session, "r2", func(s *Spec) { s.Argv = []string{"/nonexistent/program"} })); err == nil {
				t.Error("started")
			}
		}
		if !claimed(m, "a", "agent", "r1") || found(m, talked) != "a" {
			t.Error("not claimed any more")
		}
		if all := m.Sessions(""); len(all) != 1 {
			t.Errorf("sessions: %+v", all)
		}
	})
	m := reopened(t, state, nil, nil)
	if !claimed(m, "a", "agent", "r1") || found(m, talked) != "a" {
		t.Error("not claimed by the next daemon")
	}
	if got := names(t, m.state.Sessions()); len(got) != 1 {
		t.Errorf("directories: %q", got)
	}
}

// noSessions lets no session be written while f runs.
func noSessions(t *testing.T, m *Manager, f func()) {
	t.Helper()
	path := filepath.Join(m.state.Path, "store", "sessions")
	if err := errors.Join(os.Rename(path, path+"-kept"), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f()
	if err := errors.Join(os.Remove(path), os.Rename(path+"-kept", path)); err != nil {
		t.Fatal(err)
	}
}

// Where a session's file can't be written nothing is resumed that the CLI's session isn't,
// be it by the next daemon, which has only the file.
func TestTurn_FileNotWritten(t *testing.T) {
	state := t.TempDir()
	t.Run("first", func(t *testing.T) {
		m := open(t, func(o *Options) { o.StateDir = state })
		whole(t, m, "a", "r1")
		whole(t, m, "b", "r2")
		noSessions(t, m, func() {
			witness := filepath.Join(t.TempDir(), "ran")
			if _, err := m.Start(t.Context(), script("touch "+witness, inSession("a", func(s *Spec) { s.ID = "r3" }))); err == nil {
				t.Error("started, and a later daemon would take the turn before for the last")
			}
			if _, err := os.Stat(witness); !errors.Is(err, os.ErrNotExist) {
				t.Error("it ran")
			}
		})
		// Its CLI calls the session something else in this turn, and that can't be written.
		release := filepath.Join(t.TempDir(), "release")
		r := start(t, m, script("until [ -e "+release+" ]; do sleep 0.01; done; echo 's another'; echo 'd stop'", inSession("b", func(s *Spec) { s.ID = "r4" })))
		noSessions(t, m, func() {
			if err := os.WriteFile(release, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			verdict(t, r, outcome.Completed)
		})
		wait(t, "its end", r.done)
		if err := m.SetChain("tester", "b", "r4", talked); err == nil || claimed(m, "b", "agent", "r4") || found(m, talked) != "" {
			t.Errorf("claimed, and its file has the session before: %v", err)
		}
	})
	m := reopened(t, state, nil, nil)
	if !claimed(m, "a", "agent", "r1") {
		t.Error("a is as it was")
	}
	if claimed(m, "b", "agent", "r2") || claimed(m, "b", "agent", "r4") || found(m, talked) != "" {
		t.Error("b is resumed wrongly")
	}
}

// What was said finds the session when the run has ended, and not before; where the answer
// was told earlier the session is named.
func TestSetChain_BeforeTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  string // of the CLI, after its last word
		want bool
	}{
		"a good end":       {"exit 0", true},
		"it fails to save": {"exit 3", false},
		"it is killed":     {"kill -9 $$", false},
		"it goes on":       {`echo "t more"; cd $TMPDIR/..; mv spool x; cp x spool`, false}, // a warning
	} {
		t.Run(name, func(t *testing.T) {
			m, dir := open(t), t.TempDir()
			r := start(t, m, script(`echo "s cli-a"; echo "d stop"; until [ -e `+dir+`/go ]; do sleep 0.01; done; `+c.end, inSession("a", func(s *Spec) {
				s.ID, s.Backend, s.Grace = "r1", agent{settle: true}, 20*time.Second
			})))
			wait(t, "the answer", r.Answered())
			if err := m.SetChain("tester", "a", "r1", Chain{9}); err != nil { // and then another
				t.Error(err)
			}
			if err := m.SetChain("tester", "a", "r1", talked); err != nil {
				t.Error(err)
			}
			session, lock, ok := m.ClaimChain("tester", "agent", talked)
			if ok || session != "a" || claimed(m, "a", "agent", "r1") {
				lock.Release()
				t.Errorf("before its end: %q, %v", session, ok)
			}
			if text := read(t, filepath.Join(m.state.Path, "store", "sessions", sessions.Key("tester", "a")+".json")); strings.Contains(text, "chain") {
				t.Errorf("a daemon that is killed now leaves %s", text)
			}
			letGo(t, dir)
			lock, err := m.LockSession(t.Context(), "tester", "a", nil) // as one would that asks again
			if err != nil {
				t.Fatal(err)
			}
			lock.Release()
			wait(t, "its end", r.done)
			if got := found(m, talked); (got == "a") != c.want || claimed(m, "a", "agent", "r1") != c.want {
				t.Errorf("after its end: %q", got)
			}
			for _, chain := range []Chain{talked, {9}} {
				if session, _, _ := m.ClaimChain("tester", "other", chain); session != "" {
					t.Errorf("expected still, or another backend's: %q", session)
				}
			}
		})
	}
}

// What was said is told of a turn that is whole, and the last.
func TestSetChain(t *testing.T) {
	m := open(t)
	whole(t, m, "a", "r1")
	whole(t, m, "a", "r2")
	whole(t, m, "b", "r3")
	verdict(t, start(t, m, script("echo 's cli-f'; echo 'f quota'", inSession("failed", func(s *Spec) { s.ID = "f1" }))), outcome.ProviderError)
	told := Chain{7}
	for name, c := range map[string]struct {
		session, run string
		chain        Chain
		want         error // nil is any
	}{
		"an earlier turn":   {"a", "r1", told, sessions.ErrNotLast},
		"another session's": {"b", "r2", told, sessions.ErrNotLast},
		"an unknown run":    {"a", "none", told, os.ErrNotExist},
		"a failed turn":     {"failed", "f1", told, nil},
		"no chain":          {"a", "r2", Chain{}, nil},
	} {
		if err := m.SetChain("tester", c.session, c.run, c.chain); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	lock, err := m.LockSession(t.Context(), "tester", "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetChain("tester", "a", "r2", told); !errors.Is(err, ErrSessionBusy) {
		t.Errorf("another run has it: %v", err)
	}
	lock.Release()
	if got := found(m, told); got != "" {
		t.Errorf("found %q", got)
	}
	if err := m.SetChain("tester", "a", "r2", talked); err != nil || found(m, talked) != "a" {
		t.Errorf("%v", err)
	}
	if session, _, ok := m.ClaimChain("tester", "other", talked); ok || session != "" {
		t.Errorf("another backend: %q", session)
	}
	if session, _, ok := m.ClaimChain("another", "agent", talked); ok || session != "" {
		t.Errorf("another client: %q", session)
	}
}

// Two people behind one token whose conversations were the same for a while never get each
// other's session, whatever has become of one of them.
func TestClaimChain_OfTwoPeople(t *testing.T) {
	for name, between := range map[string]func(m *Manager){
		"both there":  func(*Manager) {},
		"forgotten":   func(m *Manager) { _ = m.Forget("tester", "first") },
		"expired":     func(m *Manager) { m.expire(time.Now().Add(31 * 24 * time.Hour)) },
		"has gone on": func(m *Manager) { whole(t, m, "first", "r9") },
	} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			t.Run("first", func(t *testing.T) {
				m := open(t, func(o *Options) { o.StateDir = state })
				whole(t, m, "first", "r1")
				if err := m.SetChain("tester", "first", "r1", talked); err != nil || found(m, talked) != "first" {
					t.Errorf("%v", err)
				}
				between(m)
				whole(t, m, "second", "r2")
				if err := m.SetChain("tester", "second", "r2", talked); err != nil || found(m, talked) != "" {
					t.Errorf("%v, found %q", err, found(m, talked))
				}
			})
			m := reopened(t, state, nil, nil)
			if got := found(m, talked); got != "" {
				t.Errorf("the next daemon finds %q", got)
			}
		})
	}
}

// A person that is told what another was told may go on at once, while its CLI still saves.
func TestClaimChain_BeforeTheOthersEnd(t *testing.T) {
	m, dir := open(t), t.TempDir()
	whole(t, m, "first", "r1")
	if err := m.SetChain("tester", "first", "r1", talked); err != nil || found(m, talked) != "first" {
		t.Fatal(err)
	}
	r := start(t, m, script(`echo "s cli-b"; echo "d stop"; until [ -e `+dir+`/go ]; do sleep 0.01; done`, inSession("second", func(s *Spec) {
		s.ID, s.Backend, s.Grace = "r2", agent{settle: true}, 20*time.Second
	})))
	wait(t, "the answer", r.Answered())
	if err := m.SetChain("tester", "second", "r2", talked); err != nil {
		t.Error(err)
	}
	if session, lock, ok := m.ClaimChain("tester", "agent", talked); ok || session != "" {
		lock.Release()
		t.Errorf("the second, just told the same, gets %q, %v", session, ok)
	}
	letGo(t, dir)
	wait(t, "its end", r.done)
	if got := found(m, talked); got != "" {
		t.Errorf("after its end: %q", got)
	}
}

// Claims, turns and chains at once: a session whose chain a second one gets is found before
// that or never.
func TestClaimChain_AtOnce(t *testing.T) {
	m := open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range 20 {
		first, second, chain := fmt.Sprint("a", i), fmt.Sprint("b", i), Chain{byte(i + 1), 1}
		whole(t, m, first, "of-"+first)
		whole(t, m, second, "of-"+second)
		if err := m.SetChain("tester", first, "of-"+first, chain); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := m.SetChain("tester", second, "of-"+second, chain); err != nil {
				t.Error(err)
			}
		})
		for range 3 {
			all.Go(func() {
				session, lock, ok := m.ClaimChain("tester", "agent", chain)
				if ok && session != first {
					t.Errorf("found %q", session)
				}
				if !ok {
					return
				}
				r, err := m.Start(ctx, turnOf(first, fmt.Sprint("next-", i), func(s *Spec) { s.SessionLock = lock }))
				if err != nil {
					t.Error(err)
					return
				}
				<-r.Ended()
			})
		}
		all.Wait()
		if got := found(m, chain); got != "" {
			t.Errorf("then %q", got)
		}
	}
}

// A chain is so many bytes, as hexadecimal digits.
func TestChain_Text(t *testing.T) {
	c := Chain{0xab, 15: 1}
	if text := c.String(); text != "ab000000000000000000000000000001" {
		t.Errorf("%s", text)
	}
	for _, text := range []string{"", "ab", "zz000000000000000000000000000001", "ab0000000000000000000000000000012"} {
		if err := new(store.Chain).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is one", text)
		}
	}
}
