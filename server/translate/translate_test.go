package translate

import (
	"testing"

	"penstock/config"
)

func TestTranslateURL(t *testing.T) {
	c := config.Translate{SidecarHost: "host.docker.internal", Aliases: []string{"host.containers.internal", "172.17.0.1", "fd00::1"}}
	const bad = "\x00bad"
	for _, row := range []struct{ to, in, out string }{
		{"sidecar", "http://localhost", "http://host.docker.internal"},
		{"sidecar", "http://localhost/", "http://host.docker.internal/"},
		{"sidecar", "http://localhost:8080", "http://host.docker.internal:8080"},
		{"sidecar", "https://localhost:8080/a/b?c=d#e", "https://host.docker.internal:8080/a/b?c=d#e"},
		{"sidecar", "http://LOCALHOST:1/", "http://host.docker.internal:1/"},
		{"sidecar", "http://localhost.:1/", "http://host.docker.internal:1/"},
		{"sidecar", "HTTP://localhost/", "HTTP://host.docker.internal/"},
		{"sidecar", "ws://localhost:9/s", "ws://host.docker.internal:9/s"},
		{"sidecar", "wss://localhost:9/s", "wss://host.docker.internal:9/s"},
		{"sidecar", "http://127.0.0.1:3344/v1", "http://host.docker.internal:3344/v1"},
		{"sidecar", "http://127.8.9.10/v1", "http://host.docker.internal/v1"},
		{"sidecar", "http://0.0.0.0:80/", "http://host.docker.internal:80/"},
		{"sidecar", "http://[::1]:80/x", "http://host.docker.internal:80/x"},
		{"sidecar", "http://[::1]", "http://host.docker.internal"},
		{"sidecar", "http://[::ffff:127.0.0.1]:5/", "http://host.docker.internal:5/"},
		{"sidecar", "http://user:p%40ss@localhost:8/x", "http://user:p%40ss@host.docker.internal:8/x"},
		{"sidecar", "http://user@127.0.0.1/", "http://user@host.docker.internal/"},
		{"sidecar", "http://localhost?x=http://localhost", "http://host.docker.internal?x=http://localhost"},
		{"sidecar", "http://localhost#@x", "http://host.docker.internal#@x"},
		{"sidecar", "http://localhost/a%2Fb/../c//d?e=%20+&f", "http://host.docker.internal/a%2Fb/../c//d?e=%20+&f"},
		{"sidecar", "http://localhost:/x", "http://host.docker.internal:/x"},
		{"sidecar", "http://localhost/@127.0.0.1", "http://host.docker.internal/@127.0.0.1"},
		{"sidecar", "http://example.com/", "http://example.com/"},
		{"sidecar", "http://localhost.example.com/", "http://localhost.example.com/"},
		{"sidecar", "http://128.0.0.1/", "http://128.0.0.1/"},
		{"sidecar", "http://[fe80::1]:80/", "http://[fe80::1]:80/"},
		{"sidecar", "http://localhost@evil.example/", "http://localhost@evil.example/"},
		{"sidecar", "http://host.docker.internal/", "http://host.docker.internal/"},
		{"host", "http://host.docker.internal:80/x?y#z", "http://localhost:80/x?y#z"},
		{"host", "http://HOST.docker.internal/", "http://localhost/"},
		{"host", "http://host.containers.internal:1/", "http://localhost:1/"},
		{"host", "http://172.17.0.1:1/", "http://localhost:1/"},
		{"host", "http://[fd00::1]:1/", "http://localhost:1/"},
		{"host", "ws://u:p@host.docker.internal/a%20b", "ws://u:p@localhost/a%20b"},
		{"host", "http://localhost/", "http://localhost/"},
		{"host", "http://example.com/", "http://example.com/"},
		{"sidecar", "", bad},
		{"sidecar", "localhost:80", bad},
		{"sidecar", "/v1/x", bad},
		{"sidecar", "//localhost/x", bad},
		{"sidecar", "ftp://localhost/", bad},
		{"sidecar", "file:///etc/passwd", bad},
		{"sidecar", "http:localhost", bad},
		{"sidecar", "http://", bad},
		{"sidecar", "http://:80/", bad},
		{"sidecar", "http://[::1/", bad},
		{"sidecar", "http://loc alhost/", bad},
		{"sidecar", "http://localhost:port/", bad},
		{"sidecar", "javascript:alert(1)", bad},
		{"host", "http://host.docker.internal\n/", bad},
	} {
		t.Run(row.to+" "+row.in, func(t *testing.T) {
			out, changed, err := translateURL(row.in, row.to, c)
			if row.out == bad {
				if err == nil {
					t.Fatalf("got %q, want an error", out)
				}
				return
			}
			if err != nil || out != row.out || changed != (row.in != row.out) {
				t.Errorf("got %q changed %v, %v; want %q", out, changed, err, row.out)
			}
		})
	}
}

func FuzzTranslateURL(f *testing.F) {
	f.Add("http://u:p@[::1]:80/a?b#c")
	f.Add("wss://127.0.0.1")
	c := config.Translate{SidecarHost: "sidecar.internal"}
	f.Fuzz(func(t *testing.T, raw string) {
		out, changed, err := translateURL(raw, "sidecar", c)
		if err != nil || !changed {
			if err == nil && out != raw {
				t.Fatalf("unchanged %q became %q", raw, out)
			}
			return
		}
		back, again, err := translateURL(out, "host", c)
		if err != nil || !again {
			t.Fatalf("%q -> %q does not come back: %q %v", raw, out, back, err)
		}
		start, end, _ := hostSpan(raw)
		bstart, bend, _ := hostSpan(back)
		if raw[:start] != back[:bstart] || raw[end:] != back[bend:] {
			t.Fatalf("%q came back as %q: more than the host changed", raw, back)
		}
	})
}
