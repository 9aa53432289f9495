package media

import (
	"strings"
	"testing"
	"unicode/utf8"

	"penstock/backend"
)

func TestFileName(t *testing.T) {
	for _, c := range []struct{ given, kind, want string }{
		{"", typePNG, "image-3.png"},
		{"", typeJPEG, "image-3.jpg"},
		{"", typePDF, "file-3.pdf"},
		{"", typeText, "file-3.txt"},
		{"", "text/x-rust", "file-3.bin"},
		{"report.pdf", typePDF, "report.pdf"},
		{"report", typePDF, "report.pdf"},
		{"REPORT.PDF", typePDF, "REPORT.PDF"},
		{"photo.png", typeJPEG, "photo.jpg"},
		{"photo.JPEG", typeJPEG, "photo.JPEG"},
		{"photo.v2", typePNG, "photo.v2.png"},
		{"photo.heic", typeJPEG, "photo.heic.jpg"},
		{"Makefile", typeText, "Makefile"},
		{"main.go", typeText, "main.go"},
		{"my report (1).csv", "text/csv", "my report (1).csv"},
		{"/etc/passwd", typeText, "passwd"},
		{`C:\Users\me\notes.txt`, typeText, "notes.txt"},
		{"../../.ssh/authorized_keys", typeText, "authorized_keys"},
		{"..", typeText, "file-3.txt"},
		{"...", typeText, "file-3.txt"},
		{"a/", typeText, "file-3.txt"},
		{".env", typeText, "env"},
		{"-rf", typeText, "rf"},
		{"@file", typeText, "file"},
		{" . x.txt . ", typeText, "x.txt"},
		{"a\x00b\nc\td.txt", typeText, "abcd.txt"},
		{"x\u202etxt.exe", typeText, "xtxt.exe"},
		{"x\u2028y\u200b\ufeff.txt", typeText, "xy.txt"},
		{"x\xffy.txt", typeText, "xy.txt"},
		{"$(reboot)`id`;x&y|z>w<v*?'\"!#%^{}[]~:.txt", typeText, "_(reboot)_id__x_y_z_w_v______________.txt"},
		{"Übersicht 2026 日本語 données.md", "text/markdown", "Übersicht 2026 日本語 données.md"},
		{"गणित.txt", typeText, "गणित.txt"},
		{"✓ done.txt", typeText, "✓ done.txt"},
		{"a\u00a0b\u3000c.txt", typeText, "a b c.txt"},
		{"a／b.txt", typeText, "a_b.txt"},
		{".pdf", typePDF, "pdf.pdf"},
	} {
		if got := fileName(c.given, backend.Attachment{Type: c.kind}, 3); got != c.want {
			t.Errorf("%q of %s: %q, want %q", c.given, c.kind, got, c.want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, name := range []string{"a.png", "../x", strings.Repeat("é", 200) + ".pdf", strings.Repeat(".", 300), "x." + strings.Repeat("y", 300), strings.Repeat("a", nameMax-1) + " .pdf", "\xff."} {
		f.Add(name, typePDF)
		f.Add(name, typeText)
	}
	f.Fuzz(func(t *testing.T, given, kind string) {
		if kind = claimedType(kind); kind == "" {
			return
		}
		taken := map[string]bool{}
		first := uniqueName(fileName(given, backend.Attachment{Type: kind}, 1), taken)
		second := uniqueName(fileName(given, backend.Attachment{Type: kind}, 1), taken)
		for _, name := range []string{first, second} {
			if name == "" || len(name) > nameMax+3 || !utf8.ValidString(name) || strings.ContainsAny(name, "/\\\x00\n\r\t\"'`$<>|&;*?!") || strings.ContainsAny(name[:1], ".-@ ") {
				t.Errorf("%q of %s: %q", given, kind, name)
			}
		}
		if strings.EqualFold(first, second) {
			t.Errorf("%q twice: %q and %q", given, first, second)
		}
	})
}

func TestUniqueName(t *testing.T) {
	taken := map[string]bool{}
	for _, c := range []struct{ name, want string }{{"a.png", "a.png"}, {"a.png", "a-2.png"}, {"A.PNG", "A-3.PNG"}, {"a-2.png", "a-2-2.png"}, {"b", "b"}, {"b", "b-2"}} {
		if got := uniqueName(c.name, taken); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestFileType(t *testing.T) {
	for _, c := range []struct{ claimed, data, want string }{
		{"", "hello", typeText},
		{"", "\xff\xfe", typeBinary},
		{"", "a\x00b", typeBinary},
		{"", "%PDF-1.7", typePDF},
		{"text/plain", "%PDF-1.7", typePDF},
		{"text/plain", "about %PDF-1.7", typeText},
		{"application/pdf", "\n%PDF-1.7", typePDF},
		{"Text/CSV; charset=utf-8", "a,b", "text/csv"},
		{"application/octet-stream", "hello", typeText},
		{"image/svg+xml", "<svg/>", typeText},
		{"image/heic", "\x00\x00\x00\x18ftypheic", typeBinary},
		{"application/json", "{}", "application/json"},
		{"text", "hello", typeText},
		{"text/", "hello", typeText},
		{"te xt/plain", "hello", typeText},
		{"text/x\r\nx: y", "hello", typeText},
		{strings.Repeat("x", 100) + "/y", "hello", typeText},
	} {
		if got, err := fileType("x", c.claimed, []byte(c.data)); err != nil || got != c.want {
			t.Errorf("%q, %q: %q, %v, want %q", c.claimed, c.data, got, err, c.want)
		}
	}
	if got, err := fileType("x", "application/pdf", []byte("<html>not found</html>")); err == nil {
		t.Errorf("a page said to be PDF: %s", got)
	}
}
