package scope

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"penstock/internal/procinfo"
)

// fakeManager speaks D-Bus over a unix socket as a manager does on its own. It
// is for refusals and faults only; what works is shown by real ones in the lab.
type fakeManager struct {
	t      *testing.T
	socket string
	// answer gives the body of the reply to a method, an error of D-Bus, or
	// neither to stay silent.
	answer func(method string, body []any) ([]any, *godbus.Error)
	// result is what a job ends as; empty is a job that doesn't end.
	result string

	mu    sync.Mutex
	calls []string
	conns []net.Conn
}

func serveFake(t *testing.T, f *fakeManager) *fakeManager {
	t.Helper()
	f.t, f.socket = t, filepath.Join(t.TempDir(), "private")
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			all.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return f
}

func (f *fakeManager) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	if !authenticate(in, c) {
		return
	}
	for {
		m, err := godbus.DecodeMessage(in)
		if err != nil {
			return
		}
		method, _ := m.Headers[godbus.FieldMember].Value().(string)
		f.mu.Lock()
		f.calls = append(f.calls, method)
		f.mu.Unlock()
		body, refusal := []any{}, (*godbus.Error)(nil)
		if method != "AddMatch" {
			body, refusal = f.answer(method, m.Body)
		}
		if body != nil || refusal != nil {
			f.reply(c, m, body, refusal)
		}
		if refusal == nil && method == "StartTransientUnit" && f.result != "" {
			f.jobRemoved(body[0].(godbus.ObjectPath))
		}
	}
}

// authenticate is the server's side of the handshake (D-Bus specification,
// "Authentication Protocol").
func authenticate(in *bufio.Reader, out io.Writer) bool {
	if b, err := in.ReadByte(); err != nil || b != 0 {
		return false
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return false
		}
		switch {
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			io.WriteString(out, "OK 0123456789abcdef0123456789abcdef\r\n")
		case strings.HasPrefix(line, "BEGIN"):
			return true
		default:
			io.WriteString(out, "REJECTED EXTERNAL\r\n")
		}
	}
}

func (f *fakeManager) reply(out io.Writer, to *godbus.Message, body []any, refusal *godbus.Error) {
	m := &godbus.Message{Type: godbus.TypeMethodReply, Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldReplySerial: godbus.MakeVariant(to.Serial()),
	}, Body: body}
	if refusal != nil {
		m.Type, m.Body = godbus.TypeError, refusal.Body
		m.Headers[godbus.FieldErrorName] = godbus.MakeVariant(refusal.Name)
	}
	f.send(out, m)
}

// jobRemoved signals every connection, as a manager does to those on its own socket.
func (f *fakeManager) jobRemoved(job godbus.ObjectPath) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		f.send(c, &godbus.Message{Type: godbus.TypeSignal, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldPath:      godbus.MakeVariant(godbus.ObjectPath("/org/freedesktop/systemd1")),
			godbus.FieldInterface: godbus.MakeVariant("org.freedesktop.systemd1.Manager"),
			godbus.FieldMember:    godbus.MakeVariant("JobRemoved"),
		}, Body: []any{uint32(1), job, "x.scope", f.result}})
	}
}

func (f *fakeManager) send(out io.Writer, m *godbus.Message) {
	if len(m.Body) > 0 {
		m.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(m.Body...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		f.t.Error(err)
		return
	}
	// The number that godbus leaves to its connections must not be zero.
	binary.LittleEndian.PutUint32(b.Bytes()[8:], 1)
	out.Write(b.Bytes())
}

func (f *fakeManager) called(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == method {
			n++
		}
	}
	return n
}

// manager is a connection to the fake, past the question whose groups it has.
func (f *fakeManager) manager(t *testing.T) *Manager {
	t.Helper()
	s := managerSocket{kind: userManager, path: f.socket, direct: true}
	conn, err := dbus.NewConnection(func() (*godbus.Conn, error) {
		c, _, err := s.dial(within(t))
		return c, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	mounts, err := procinfo.Host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	return &Manager{Conn: conn, Kind: userManager, Socket: f.socket, mounts: mounts}
}

// within is the bound of everything that must happen soon.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// skipLacking is a failure in the lab (test/lab/test), which has everything.
func skipLacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("PENSTOCK_LAB") != "" {
		t.Fatalf("the lab lacks %s", what)
	}
	t.Skipf("this machine lacks %s", what)
}
