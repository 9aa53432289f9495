package server

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"penstock/server/web"
)

// A body comes as it is or compressed, under one limit.
func TestBodyCodings(t *testing.T) {
	s := serve(t, nil)
	packed := func(text string, open func(io.Writer) io.WriteCloser) string {
		var out bytes.Buffer
		w := open(&out)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	zipped := func(text string) string {
		return packed(text, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	}
	body := chatBody("upper", "word", false, "")
	bomb := zipped(body + strings.Repeat(" ", web.BodyMax))
	if len(bomb) > 64<<10 {
		t.Fatalf("a bomb of %d bytes", len(bomb))
	}
	for _, row := range []struct {
		name, coding, kind, body string
		status                   int
	}{
		{"gzip", "gzip", "", zipped(body), 200},
		{"upper case", "GZIP", "", zipped(body), 200},
		{"x-gzip", "x-gzip", "", zipped(body), 200},
		{"zlib", "deflate", "", packed(body, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), 200},
		{"bare deflate", "deflate", "", packed(body, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 6); return f }), 200},
		{"identity", "identity", "", body, 200},
		{"as large as can be", "gzip", "", zipped(body + strings.Repeat(" ", web.BodyMax-len(body))), 200},
		{"bomb", "gzip", "", bomb, 413},
		{"bomb that is no JSON", "deflate", "", packed(strings.Repeat("\x00", 4*web.BodyMax), func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), 413},
		{"cut off", "gzip", "", zipped(body)[:20], 400},
		{"only a head", "gzip", "", "\x1f\x8b", 400},
		{"not gzip", "gzip", "", body, 400},
		{"not deflate", "deflate", "", "\xff\xff\xff\xff", 400},
		{"wrong sum", "gzip", "", zipped(body)[:len(zipped(body))-8] + "12345678", 400},
		{"zstd", "zstd", "", "(\xb5/\xfd", 415},
		{"brotli", "br", "", "x", 415},
		{"two codings", "gzip, gzip", "", zipped(zipped(body)), 415},
		{"byte order mark", "", "", "\ufeff" + body, 200},
		{"two of them", "", "", "\ufeff\ufeff" + body, 400},
		{"charset utf8", "", "application/json; charset=utf8", body, 200},
		{"charset quoted", "", `application/json;charset="UTF-8"`, body, 200},
		{"charset other", "", "application/json; charset=utf-16", body, 415},
	} {
		t.Run(row.name, func(t *testing.T) {
			header := []string{"Content-Encoding", row.coding}
			if row.coding == "" {
				header = nil
			}
			if row.kind != "" {
				header = append(header, "Content-Type", row.kind)
			}
			r := s.ask("POST", "/v1/chat/completions", row.body, header...)
			if r.status != row.status || (row.status == 200) != (r.text == "WORD") {
				t.Errorf("%d %q %s, want %d", r.status, r.text, web.Clip(r.body, 300), row.status)
			}
			if row.status == 415 && row.coding != "" && (r.header.Get("Accept-Encoding") != "gzip, deflate" || r.err == nil || !strings.Contains(r.err.Message, "gzip")) {
				t.Errorf("%v %s", r.header, r.body)
			}
		})
	}
	if r := s.ask("POST", "/translate", zipped(`{"url":"http://localhost:1","to":"sidecar"}`), "Content-Encoding", "gzip"); r.status != 200 {
		t.Errorf("translate: %+v", r)
	}
}
