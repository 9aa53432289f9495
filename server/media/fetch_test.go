package media

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/internal/egress"
	"penstock/server/web"
)

func newFetcher(t *testing.T, hosts ...string) *Fetcher {
	t.Helper()
	rules, err := egress.Parse(hosts)
	if err != nil {
		t.Fatal(err)
	}
	return NewFetcher(rules, 64<<10, 10*time.Second)
}

func fetch(ctx context.Context, f *Fetcher, sources ...Source) ([]backend.Attachment, error) {
	batch, err := Decode(sources)
	if err != nil {
		return nil, err
	}
	return batch.Fetch(ctx, f, nil)
}

func imageAt(t *testing.T, address string) Source {
	t.Helper()
	return Source{Where: "here", Data: quoted(t, address)}
}

// site is a server on loopback, that counts who comes.
type site struct {
	*httptest.Server
	visits atomic.Int64
}

func newSite(t *testing.T, listen string, handle http.HandlerFunc) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.visits.Add(1)
		handle(w, r)
	}))
	if listen != "" {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Listener.Close()
		s.Listener = l
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *site) host() string { return s.Listener.Addr().String() }

func (s *site) port() string {
	_, port, _ := strings.Cut(s.host(), ":")
	return port
}

func TestFetch(t *testing.T) {
	picture := encodePNG(t, 3, 5)
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if name != "User-Agent" && name != "Connection" {
				t.Errorf("%s is sent", name)
			}
		}
		w.Header().Set("Set-Cookie", "a=b")
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/deep/photo.jpg?signature=x", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "text/html") // which counts for nothing
		_, _ = w.Write(picture)
	})
	got, err := fetch(t.Context(), newFetcher(t, s.host()),
		imageAt(t, s.URL+"/a/picture.png?x=y#z"), imageAt(t, uri("image/png", picture)), imageAt(t, s.URL+"/moved"), Source{Kind: File, Where: "f", Data: quoted(t, s.URL)},
	)
	want := []backend.Attachment{
		{Name: "picture.png", Type: typePNG, Data: picture}, {Name: "image-2.png", Type: typePNG, Data: picture}, {Name: "moved.png", Type: typePNG, Data: picture}, {Name: "image-4.png", Type: typePNG, Data: picture},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// No URL leads to where the operator doesn't allow it, and no server there is asked.
func TestFetch_Refused(t *testing.T) {
	inside := newSite(t, "", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(encodePNG(t, 1, 1)) })
	other := newSite(t, "127.0.0.2:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(encodePNG(t, 1, 1)) })
	var target atomic.Value
	open := newSite(t, "127.0.0.3:0", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.Load().(string), http.StatusTemporaryRedirect)
	})
	for name, c := range map[string]struct {
		hosts    []string
		url      string
		redirect string
		told     string
	}{
		"loopback":                {[]string{"*", "127.0.0.3:" + open.port()}, "http://127.0.0.1", "", "no address that is allowed"},
		"loopback, a port":        {[]string{"*"}, inside.URL, "", "host or port is not allowed"},
		"loopback, mapped":        {[]string{"*"}, "http://[::ffff:127.0.0.1]/", "", "no address that is allowed"},
		"loopback by name":        {[]string{"*"}, "http://localhost/", "", "no address that is allowed"},
		"loopback as a number":    {[]string{"*"}, "http://2130706433/", "", "its host is not known"},
		"loopback in octal":       {[]string{"*"}, "http://0177.0.0.1/", "", "its host is not known"},
		"IPv6's loopback":         {[]string{"*"}, "http://[::1]/", "", "no address that is allowed"},
		"unspecified":             {[]string{"*"}, "http://0.0.0.0/", "", "no address that is allowed"},
		"a cloud's metadata":      {[]string{"*"}, "http://169.254.169.254/latest/meta-data/", "", "no address that is allowed"},
		"private":                 {[]string{"*"}, "https://10.0.0.1/", "", "no address that is allowed"},
		"NAT64":                   {[]string{"*"}, "http://[64:ff9b::7f00:1]/", "", "no address that is allowed"},
		"a zone":                  {[]string{"*"}, "http://[fe80::1%25lo]/", "", "no address that is allowed"},
		"a name, its address not": {[]string{"localhost:" + inside.port()}, "http://localhost:" + inside.port() + "/", "", "no address that is allowed"},
		"another address":         {[]string{inside.host()}, other.URL, "", "host or port is not allowed"},
		"another port":            {[]string{"127.0.0.1"}, inside.URL, "", "host or port is not allowed"},
		"a port that is none":     {[]string{"*"}, "http://example.net:99999/", "", "its port is none"},
		"a password":              {[]string{inside.host()}, "http://me:secret@" + inside.host(), "", "user name or a password"},
		"redirected":              {[]string{open.host()}, open.URL, inside.URL, "after a redirect, its host or port is not allowed"},
		"redirected to a name":    {[]string{open.host(), "localhost:" + inside.port()}, open.URL, "http://localhost:" + inside.port(), "no address that is allowed"},
		"redirected to a file":    {[]string{open.host()}, open.URL, "file:///etc/passwd", "other than http and https"},
		"redirected, a password":  {[]string{open.host(), inside.host()}, open.URL, "http://me:secret@" + inside.host(), "user name or a password"},
		"redirected for ever":     {[]string{open.host()}, open.URL, open.URL, "redirected over 5 times"},
	} {
		target.Store(c.redirect)
		f := newFetcher(t, c.hosts...)
		f.dialer.Resolver = resolver(t, func() []string { return []string{"127.0.0.1"} })
		got, err := fetch(t.Context(), f, imageAt(t, c.url))
		var told *web.Error
		if !errors.As(err, &told) || told.Status != http.StatusBadRequest || told.Param != "here" || !strings.Contains(told.Message, c.told) {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		if strings.Contains(told.Error(), "secret") || strings.Contains(told.Error(), "http://") || strings.Contains(told.Message, "127.0.0") {
			t.Errorf("%s: says where: %s", name, told.Error())
		}
	}
	if inside.visits.Load() > 0 || other.visits.Load() > 0 {
		t.Errorf("%d and %d requests came to where none is allowed", inside.visits.Load(), other.visits.Load())
	}
}

// A name that means something else at each look is judged by what is connected to.
func TestFetch_Rebinding(t *testing.T) {
	good := newSite(t, "127.0.0.1:0", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(encodePNG(t, 1, 1)) })
	bad := newSite(t, "127.0.0.2:"+good.port(), func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(encodePNG(t, 1, 1)) })
	f := newFetcher(t, "rebound.example:"+good.port(), "127.0.0.1")
	var answers [][]string
	var looks int
	f.dialer.Resolver = resolver(t, func() []string {
		looks++
		return answers[min(looks, len(answers))-1]
	})
	for _, c := range []struct {
		answers [][]string
		ok      bool
	}{
		{[][]string{{"127.0.0.1"}, {"127.0.0.2"}}, true},
		{[][]string{{"127.0.0.2"}, {"127.0.0.1"}}, false},
		{[][]string{{"127.0.0.2", "127.0.0.1"}}, true}, // the one of them that may be
		{[][]string{{"127.0.0.2", "169.254.169.254", "0.0.0.0", "10.0.0.1"}}, false},
	} {
		answers, looks = c.answers, 0
		got, err := fetch(t.Context(), f, imageAt(t, "http://rebound.example:"+good.port()+"/"))
		if (err == nil) != c.ok || looks != 1 {
			t.Errorf("%v: %d, %v after %d looks", c.answers, len(got), err, looks)
		}
		if err != nil && !errors.Is(err, errNotPublic) {
			t.Errorf("%v: %v", c.answers, err)
		}
	}
	if bad.visits.Load() > 0 {
		t.Errorf("%d requests came to where none is allowed", bad.visits.Load())
	}
}

// resolver asks a name server that has the IPv4 addresses of the next answer for every name.
func resolver(t *testing.T, answer func() []string) *net.Resolver {
	t.Helper()
	const typeA = 1
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe() // no packets: each message has its length before it
		go func() {
			defer ours.Close()
			head := make([]byte, 2)
			if _, err := io.ReadFull(ours, head); err != nil {
				return
			}
			question := make([]byte, binary.BigEndian.Uint16(head))
			if _, err := io.ReadFull(ours, question); err != nil {
				return
			}
			end := 12
			for question[end] != 0 {
				end += 1 + int(question[end])
			}
			kind := binary.BigEndian.Uint16(question[end+1:])
			var records []byte
			count := 0
			if kind == typeA {
				for _, a := range answer() {
					addr := netip.MustParseAddr(a).As4()
					records = append(append(records, 0xc0, 12, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4), addr[:]...)
					count++
				}
			}
			reply := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, byte(count), 0, 0, 0, 0}, question[12:end+5]...)
			reply = append(reply, records...)
			_, _ = ours.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		}()
		return theirs, nil
	}}
}

// What a host sends is held to the bounds while it comes, and a bad answer is told as one.
func TestFetch_Answers(t *testing.T) {
	hang := make(chan struct{})
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		case "/large":
			w.Header().Set("Content-Length", "99999999")
		case "/missing":
			http.NotFound(w, r)
		case "/packed":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b"))
		case "/page":
			_, _ = w.Write([]byte("<!doctype html>"))
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(encodePNG(t, 1, 1)[:20])
		case "/bomb":
			_, _ = w.Write(pngHeader(60000, 60000))
		case "/hang":
			select {
			case <-r.Context().Done():
			case <-hang:
			}
		}
	})
	defer close(hang)
	f := newFetcher(t, s.host())
	for path, want := range map[string]string{
		"/endless": "over 64 KiB", "/large": "over 64 KiB", "/missing": "answers 404", "/packed": "compressed", "/page": "page of HTML", "/cut": "connection to its host failed", "/bomb": "60000 by 60000", "/empty": "empty",
	} {
		_, err := fetch(t.Context(), f, imageAt(t, s.URL+path))
		var told *web.Error
		if !errors.As(err, &told) || told.Status != http.StatusBadRequest || told.Param != "here" || !strings.Contains(told.Message, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	slow := newFetcher(t, s.host())
	slow.timeout = 50 * time.Millisecond
	if _, err := fetch(t.Context(), slow, imageAt(t, s.URL+"/hang")); err == nil || !strings.Contains(err.Error(), "did not come in 50ms") {
		t.Errorf("a host that hangs: %v", err)
	}
	ctx, leave := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, leave)
	var told *web.Error
	if _, err := fetch(ctx, f, imageAt(t, s.URL+"/hang")); !errors.As(err, &told) || told.Code != "client_gone" {
		t.Errorf("a client that leaves: %v", err)
	}
	encrypted := httptest.NewUnstartedServer(http.NotFoundHandler())
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0)
	encrypted.StartTLS()
	defer encrypted.Close()
	if _, err := fetch(t.Context(), newFetcher(t, encrypted.Listener.Addr().String()), imageAt(t, encrypted.URL)); err == nil || !strings.Contains(err.Error(), "certificate can't be verified") {
		t.Errorf("a certificate that is not known: %v", err)
	}
}

// No more requests fetch at once than is written down, and none waits for long.
func TestFetch_Bounded(t *testing.T) {
	arrived, hang := make(chan struct{}, 100), make(chan struct{})
	s := newSite(t, "", func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-hang
		_, _ = w.Write(encodePNG(t, 1, 1))
	})
	f := newFetcher(t, s.host())
	f.wait = 50 * time.Millisecond
	results := make(chan error, fetchersMax+1)
	for range fetchersMax {
		go func() {
			_, err := fetch(t.Context(), f, imageAt(t, s.URL))
			results <- err
		}()
		<-arrived
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	var told *web.Error
	if _, err := fetch(gone, f, imageAt(t, s.URL)); !errors.As(err, &told) || told.Code != "client_gone" {
		t.Errorf("one that waits and leaves: %v", err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := fetch(t.Context(), f, imageAt(t, s.URL))
		waiting <- err
	}()
	select {
	case err := <-waiting:
		if !errors.As(err, &told) || told.Status != http.StatusTooManyRequests || told.RetryAfter <= 0 || !told.Refused {
			t.Errorf("one too many: %v", err)
		}
	case <-arrived:
		t.Error("one too many is fetched")
	}
	close(hang)
	for range fetchersMax {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// What is fetched counts among what the request holds of the daemon's memory.
func TestFetch_Metered(t *testing.T) {
	in := web.NewIntake()
	lease := in.NewLease()
	s := newSite(t, "", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(append(encodePNG(t, 1, 1), make([]byte, 1<<20)...))
	})
	f := newFetcher(t, s.host())
	f.most = 2 << 20
	batch, err := Decode([]Source{imageAt(t, s.URL)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := batch.Fetch(t.Context(), f, lease); err != nil || in.Idle() {
		t.Errorf("%v, and nothing is held: %v", err, in.Idle())
	}
	lease.Release()
	if !in.Idle() {
		t.Error("held when released")
	}
}

// The environment's proxy would connect where nothing is held to the rules.
func TestNewFetcher_NoProxy(t *testing.T) {
	if f := newFetcher(t, "*"); f.client.Transport.(*http.Transport).Proxy != nil || f.client.Jar != nil {
		t.Error("a proxy or cookies")
	}
}
