package sessions

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/run/store"
)

const month = 30 * 24 * time.Hour

// world is a state directory with its registry, which can be opened anew.
type world struct {
	t   *testing.T
	dir string
	st  *store.StateDir
	*Registry
	warned []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.open()
	t.Cleanup(func() { w.st.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.st, err = store.Open(w.dir); err == nil {
		w.warned = nil
		w.Registry, err = Open(w.st, month, func(path string, err error) { w.warned = append(w.warned, filepath.Base(path)+": "+err.Error()) })
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// next is what another daemon finds.
func (w *world) next() {
	w.t.Helper()
	if err := w.st.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) file(name string) string { return filepath.Join(w.dir, "store", name) }

// turn has a session's run begin, and its CLI tell what it calls the session.
func (w *world) turn(client, session, run string) (undo func() error) {
	w.t.Helper()
	one := Session{Client: client, Session: session, Backend: "agent", LastRun: run, Updated: time.Now()}
	before, _ := w.Get(Key(client, session))
	one.CLISession = before.CLISession
	undo, err := w.Begin(one, nil)
	if err == nil {
		one.CLISession = "cli-" + session
		err = w.Put(one, nil)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return undo
}

func (w *world) chain(client, session, run string, c store.Chain) {
	w.t.Helper()
	if err := w.SetChain(Key(client, session), run, "cli-"+session, c, nil); err != nil {
		w.t.Error(err)
	}
}

// whole is a turn that is.
func (w *world) whole(client, session, run string, c store.Chain) {
	w.t.Helper()
	w.turn(client, session, run)
	w.chain(client, session, run, c)
}

// found wants a chain to find a session, "" is none, now and by the next daemon.
func (w *world) found(client string, c store.Chain, want string) {
	w.t.Helper()
	for _, who := range []string{"now", "by the next daemon"} {
		key, settles, ok := w.ByChain(client, c)
		one, _ := w.Get(key)
		if one.Session != want || ok != (want != "") || settles {
			w.t.Errorf("%s found %q, %v, want %q", who, one.Session, ok, want)
		}
		w.next()
	}
}

var u, v = store.Chain{1}, store.Chain{2, 3}

func TestByChain(t *testing.T) {
	for name, test := range map[string]func(w *world) (want string){
		"none had it":            func(w *world) string { w.whole("c", "a", "1", u); return "" },
		"one has it":             func(w *world) string { w.whole("c", "a", "1", v); return "a" },
		"told twice":             func(w *world) string { w.whole("c", "a", "1", v); w.chain("c", "a", "1", v); return "a" },
		"another client's":       func(w *world) string { w.whole("d", "a", "1", v); return "" },
		"another client has it":  func(w *world) string { w.whole("d", "a", "1", v); w.whole("c", "b", "2", v); return "b" },
		"its next turn is begun": func(w *world) string { w.whole("c", "a", "1", v); w.turn("c", "a", "2"); return "" },
		"its next turn never was": func(w *world) string {
			w.whole("c", "a", "1", v)
			if err := w.turn("c", "a", "2")(); err != nil {
				w.t.Error(err)
			}
			return "a"
		},
		"it has gone on": func(w *world) string { w.whole("c", "a", "1", v); w.whole("c", "a", "2", u); return "" },
		"it has come back to it": func(w *world) string {
			w.whole("c", "a", "1", v)
			w.whole("c", "a", "2", u)
			w.whole("c", "a", "3", v)
			return ""
		},
		"two have it": func(w *world) string { w.whole("c", "a", "1", v); w.whole("c", "b", "2", v); return "" },
		"three have it": func(w *world) string {
			for _, s := range []string{"a", "b", "d"} {
				w.whole("c", s, "of "+s, v)
			}
			return ""
		},
		"one has it and one had it": func(w *world) string {
			w.whole("c", "a", "1", v)
			w.whole("c", "a", "2", u)
			w.whole("c", "b", "3", v)
			return ""
		},
		"the first of two is forgotten":  func(w *world) string { w.whole("c", "a", "1", v); w.whole("c", "b", "2", v); w.forget("a"); return "" },
		"the second of two is forgotten": func(w *world) string { w.whole("c", "a", "1", v); w.whole("c", "b", "2", v); w.forget("b"); return "" },
		"one was forgotten before":       func(w *world) string { w.whole("c", "a", "1", v); w.forget("a"); w.whole("c", "b", "2", v); return "" },
		"one that had it was forgotten": func(w *world) string {
			w.whole("c", "a", "1", v)
			w.whole("c", "a", "2", u)
			w.forget("a")
			w.whole("c", "b", "3", v)
			return ""
		},
		"in the other's name anew": func(w *world) string { w.whole("c", "a", "1", v); w.forget("a"); w.whole("c", "a", "2", v); return "" },
		"the next daemon's second": func(w *world) string { w.whole("c", "a", "1", v); w.next(); w.whole("c", "b", "2", v); return "" },
		"what chains there were is lost": func(w *world) string {
			w.whole("c", "a", "1", v)
			w.whole("c", "b", "2", u)
			w.remove("chains")
			w.next()
			w.whole("c", "b", "3", v) // the one that is there is known all the same
			return ""
		},
		"lost, and one has it": func(w *world) string { w.whole("c", "a", "1", v); w.remove("chains"); w.next(); return "a" },
		"damaged":              func(w *world) string { w.whole("c", "a", "1", v); w.write("chains", "x"); w.next(); return "a" },
		"two files, and it lost": func(w *world) string {
			w.whole("c", "a", "1", v)
			path := w.file("sessions/" + Key("c", "a") + ".json")
			text, err := os.ReadFile(path)
			if err != nil {
				w.t.Fatal(err)
			}
			w.write("sessions/"+Key("c", "b")+".json", strings.ReplaceAll(strings.ReplaceAll(string(text), `"session":"a"`, `"session":"b"`), "cli-a", "cli-b"))
			w.remove("chains")
			w.next()
			return ""
		},
		"of an earlier version": func(w *world) string {
			w.write("sessions/"+Key("c", "a")+".json", `{"client":"c","session":"a","backend":"agent","cli_session":"x","cwd":"/","updated":"2026-11-29T07:00:00Z"}`)
			w.next()
			if one, ok := w.Get(Key("c", "a")); !ok || one.CLISession != "x" || one.LastRun != "" {
				w.t.Errorf("%+v", one)
			}
			return ""
		},
		"no chain": func(w *world) string {
			w.write("sessions/"+Key("c", "a")+".json", `{"client":"c","session":"a","chain":"0203"}`)
			w.next()
			if len(w.warned) != 1 || !strings.Contains(w.warned[0], "hexadecimal") {
				w.t.Errorf("warned %q", w.warned)
			}
			return ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.found("c", v, test(w))
		})
	}
}

func (w *world) forget(session string) {
	w.t.Helper()
	if err := w.Forget(Key("c", session)); err != nil {
		w.t.Error(err)
	}
}

func (w *world) remove(name string) {
	w.t.Helper()
	if err := os.Remove(w.file(name)); err != nil {
		w.t.Error(err)
	}
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.file(name), []byte(text), 0o600); err != nil {
		w.t.Error(err)
	}
}

// A chain is that of a session's last turn, in what its CLI called the session.
func TestSetChain_Refused(t *testing.T) {
	w := newWorld(t)
	w.turn("c", "a", "1")
	key := Key("c", "a")
	for name, err := range map[string]error{
		"an earlier turn": w.SetChain(key, "0", "cli-a", v, nil),
		"no turn":         w.SetChain(key, "", "cli-a", v, nil),
		"no session":      w.SetChain(Key("c", "b"), "1", "cli-a", v, nil),
	} {
		if !errors.Is(err, ErrNotLast) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, cli := range []string{"", "another"} {
		if err := w.SetChain(key, "1", cli, v, nil); err == nil {
			t.Errorf("called %q: taken", cli)
		}
	}
	w.found("c", v, "")
}

// say has the client told the end of a conversation.
func (w *world) say(client, session string, c store.Chain) {
	w.t.Helper()
	if err := w.Say(client, session, c); err != nil {
		w.t.Error(err)
	}
}

// A session that will have a chain is found, and is not to be had yet; one that never gets
// it is found no more.
func TestSay(t *testing.T) {
	w := newWorld(t)
	w.turn("c", "a", "1")
	w.say("c", "a", v)
	w.say("c", "a", v) // to another reader
	w.Unexpect("c", "b", v)
	if key, settles, ok := w.ByChain("c", v); key != Key("c", "a") || !settles || !ok {
		t.Errorf("%q %v %v", key, settles, ok)
	}
	w.chain("c", "a", "1", v)
	w.say("c", "a", v)
	w.found("c", v, "a")
	w.turn("c", "a", "2")
	w.say("c", "a", u)
	w.Unexpect("c", "a", u)
	w.found("c", u, "")
	if len(w.chains.expected) != 0 {
		t.Errorf("left: %v", w.chains.expected)
	}
}

// What a client is told a second time finds neither session, from before it is told on: it may
// go on before either turn is over.
func TestSay_Twice(t *testing.T) {
	for name, f := range map[string]func(w *world){
		"the first is over":     func(w *world) { w.whole("c", "a", "1", v); w.turn("c", "b", "2"); w.say("c", "b", v) },
		"neither is over":       func(w *world) { w.say("c", "a", v); w.say("c", "b", v) },
		"the first never is":    func(w *world) { w.say("c", "a", v); w.Unexpect("c", "a", v); w.whole("c", "b", "2", v) },
		"the second is no more": func(w *world) { w.whole("c", "a", "1", v); w.say("c", "b", v); w.Unexpect("c", "b", v) },
		"the second is in none": func(w *world) { w.whole("c", "a", "1", v); w.say("c", "", v) },
		"the first is in none":  func(w *world) { w.say("c", "", v); w.whole("c", "a", "1", v) },
		"both are in none":      func(w *world) { w.say("c", "", v); w.say("c", "", v); w.whole("c", "a", "1", v) },
		"the first is over later": func(w *world) {
			w.turn("c", "a", "1")
			w.say("c", "a", v)
			w.say("c", "b", v)
			w.chain("c", "a", "1", v)
		},
		"both are over later": func(w *world) {
			w.turn("c", "a", "1")
			w.turn("c", "b", "2")
			w.say("c", "a", v)
			w.say("c", "b", v)
			w.chain("c", "b", "2", v)
			w.chain("c", "a", "1", v)
		},
	} {
		w := newWorld(t)
		f(w)
		if key, _, ok := w.ByChain("c", v); ok {
			t.Errorf("%s: found %q", name, key)
		}
		w.next()
		if key, _, ok := w.ByChain("c", v); ok {
			t.Errorf("%s: the next daemon finds %q", name, key)
		}
		if len(w.chains.expected) != 0 {
			t.Errorf("%s: left: %v", name, w.chains.expected)
		}
	}
}

// broken puts something in the place of a file or a directory, and puts it back.
func (w *world) broken(name string, f func()) {
	w.t.Helper()
	path := w.file(name)
	there := os.Rename(path, path+".kept") == nil
	if err := os.Mkdir(path, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if name == "sessions" { // no directory, either
		if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
			w.t.Fatal(err)
		}
	}
	f()
	if err := os.Remove(path); err != nil {
		w.t.Fatal(err)
	}
	if there {
		if err := os.Rename(path+".kept", path); err != nil {
			w.t.Fatal(err)
		}
	}
}

// A session whose file can't be written is found by no chain that its CLI has gone beyond,
// or that could not be written down.
func TestChain_FileNotWritten(t *testing.T) {
	t.Run("the turn is not begun", func(t *testing.T) {
		w := newWorld(t)
		w.whole("c", "a", "1", v)
		w.broken("sessions", func() {
			if _, err := w.Begin(Session{Client: "c", Session: "a", LastRun: "2"}, nil); err == nil {
				t.Error("begun")
			}
		})
		if one, _ := w.Get(Key("c", "a")); one.LastRun != "1" {
			t.Errorf("%+v", one)
		}
		w.found("c", v, "a")
	})
	t.Run("its chain is not told", func(t *testing.T) {
		w := newWorld(t)
		w.whole("c", "a", "1", u)
		w.turn("c", "a", "2")
		w.broken("sessions", func() {
			if err := w.SetChain(Key("c", "a"), "2", "cli-a", v, nil); err == nil {
				t.Error("told")
			}
		})
		w.found("c", v, "")
		w.found("c", u, "")
	})
	t.Run("what chains there were is not written", func(t *testing.T) {
		w := newWorld(t)
		w.turn("c", "a", "1")
		w.broken("chains", func() {
			if err := w.SetChain(Key("c", "a"), "1", "cli-a", v, nil); err == nil {
				t.Error("told")
			}
		})
		w.found("c", v, "")
	})
	t.Run("nor that a second one had it", func(t *testing.T) {
		w := newWorld(t)
		w.whole("c", "a", "1", v)
		w.turn("c", "b", "2")
		w.broken("chains", func() {
			if err := w.SetChain(Key("c", "b"), "2", "cli-b", v, nil); err == nil {
				t.Error("told")
			}
			if _, _, ok := w.ByChain("c", v); ok {
				t.Error("found")
			}
			if err := w.SaveChains(); err == nil {
				t.Error("saved")
			}
		})
		if err := w.SaveChains(); err != nil { // as is tried each minute
			t.Error(err)
		}
		w.found("c", v, "")
	})
}

// Whatever sessions do, a chain finds one only where no other of its client ever had it.
func TestByChain_Property(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	for seed := range rounds {
		random := rand.New(rand.NewPCG(uint64(seed), 7))
		w := newWorld(t)
		had := map[store.Chain]map[int]bool{} // which sessions, each with its own number
		now := map[string]store.Chain{}       // sessions that have one
		number, born := map[string]int{}, 0
		for step := range 60 {
			session, run := fmt.Sprint("s", random.IntN(4)), fmt.Sprint("run-", seed, "-", step)
			c := store.Chain{byte(1 + random.IntN(5))}
			switch random.IntN(8) {
			case 0:
				if _, known := number[session]; known {
					w.forget(session)
					delete(number, session)
					delete(now, session)
				}
			case 1:
				w.next()
			default:
				if _, known := number[session]; !known {
					born++
					number[session] = born
				}
				w.turn("c", session, run)
				delete(now, session)
				if random.IntN(4) == 0 {
					break // a turn that isn't whole
				}
				if had[c] == nil {
					had[c] = map[int]bool{}
				}
				again := had[c][number[session]] // it has come back: refused, too
				had[c][number[session]] = true
				w.chain("c", session, run, c)
				if !again {
					now[session] = c
				}
			}
			for c := range had {
				key, _, ok := w.ByChain("c", c)
				if !ok {
					continue
				}
				one, _ := w.Get(key)
				if len(had[c]) != 1 || now[one.Session] != c {
					t.Fatalf("seed %d, step %d: %v finds %q, and %d have had it", seed, step, c, one.Session, len(had[c]))
				}
			}
			for session, c := range now {
				if _, _, ok := w.ByChain("c", c); !ok && len(had[c]) == 1 {
					t.Fatalf("seed %d, step %d: %q alone has ever had %v, and isn't found", seed, step, session, c)
				}
			}
		}
	}
}
