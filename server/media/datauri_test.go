package media

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseDataURI(t *testing.T) {
	for _, c := range []struct {
		uri, mediaType, name, data string
	}{
		{"data:image/png;base64,aGVsbG8=", "image/png", "", "hello"},
		{"DATA:Image/PNG;BASE64,aGVsbG8=", "image/png", "", "hello"},
		{"data:image/png;base64,aGVsbG8", "image/png", "", "hello"},
		{"data:image/png;base64,aGVsbG8%3D", "image/png", "", "hello"},
		{"data:image/png;base64,aGVs\r\n bG8\t=\n", "image/png", "", "hello"},
		{"data:image/png;base64, aGVs%0D%0AbG8=", "image/png", "", "hello"},
		{"data: image/png ; base64 , aGVsbG8=", "image/png", "", "hello"},
		{"data:image%2Fpng;base64,aGVsbG8=", "image/png", "", "hello"},
		{"data:image/png;base64,-_-_", "image/png", "", "\xfb\xff\xbf"},
		{"data:image/png;base64,%2B/%2b/", "image/png", "", "\xfb\xff\xbf"},
		{"data:image/png;base64;charset=utf-8,aGVsbG8=", "image/png", "", "hello"},
		{"data:text/plain;charset=utf-8;base64,aGVsbG8=", "text/plain", "", "hello"},
		{`data:text/plain;name="a, b; c.txt";base64,aGVsbG8=`, "text/plain", "a, b; c.txt", "hello"},
		{`data:text/plain;name="say \"hi\", twice";base64,aGVsbG8=`, "text/plain", `say \"hi\", twice`, "hello"},
		{`data:text/plain;title="never ends;base64,aGVsbG8=`, "text/plain", "", "aGVsbG8="},
		{"data:application/pdf;filename=annual%20report.pdf;base64,aGVsbG8=", "application/pdf", "annual report.pdf", "hello"},
		{"data:;base64,aGVsbG8=", "", "", "hello"},
		{"data:base64,aGVsbG8=", "", "", "hello"},
		{"data:,hello", "", "", "hello"},
		{"data:,", "", "", ""},
		{"data:;charset=x,hello", "", "", "hello"},
		{"data:charset=x,hello", "", "", "hello"},
		{"data:text/html,a%2Cb%20c+d", "text/html", "", "a,b c+d"},
		{"data:text/plain,100%", "text/plain", "", "100%"},
		{"data:text/plain,100%2", "text/plain", "", "100%2"},
		{"data:text/plain,%zz%4g%41", "text/plain", "", "%zz%4gA"},
		{"data:text/plain,C#\nand\tmore, too", "text/plain", "", "C#\nand\tmore, too"},
		{"data:text/plain,%FF%00", "text/plain", "", "\xff\x00"},
		{"data:base64/x;,hello", "base64/x", "", "hello"},
		{"data:image/png;base64=1,hello", "image/png", "", "hello"},
	} {
		u, err := parseDataURI([]byte(c.uri))
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
			continue
		}
		data, err := u.decode(100)
		if err != nil || string(data) != c.data || u.mediaType != c.mediaType || u.name != c.name {
			t.Errorf("%s: %q %q %q, %v", c.uri, u.mediaType, u.name, data, err)
		}
	}
	for _, uri := range []string{"data:", "data:image/png;base64", "data:" + strings.Repeat(";", uriHeaderMax) + ",x"} {
		if u, err := parseDataURI([]byte(uri)); err == nil {
			t.Errorf("%.40s: %+v", uri, u)
		}
	}
}

func TestDecodeBase64(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "=": "", "====": "", " \n": "", "YQ": "a", "YQ=": "a", "YQ==": "a", "Y Q = = ": "a", "YWI": "ab", "YWI=": "ab", "YWJj": "abc", "YWJjZA": "abcd",
		"+/+/": "\xfb\xff\xbf", "-_-_": "\xfb\xff\xbf", "+_-/": "\xfb\xff\xbf", "YR==": "a",
	} {
		if got, err := decodeBase64([]byte(text), false, 100); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"Y", "YWJjZ", "YQ==YQ==", "YQ=a", "YW!j", "YWJj\x00", "YWJj\xff", "YQ%3D%3D", "é", "YQ=\u00a0"} {
		if got, err := decodeBase64([]byte(text), false, 100); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
	for most, fits := range []bool{false, false, false, true, true} {
		if _, err := decodeBase64([]byte("YWJj"), false, int64(most)); (err == nil) != fits || err != nil && !errors.Is(err, errTooLarge) {
			t.Errorf("3 bytes in %d: %v", most, err)
		}
	}
}

// What is decoded is what others decode; it never costs more memory than its text.
func FuzzDataURI(f *testing.F) {
	for _, uri := range []string{
		"data:image/png;base64,aGVsbG8=", "data:;base64,%2B-_/", "data:,a%20b", `data:x/y;name="a,b";base64,YQ`, `data:"\`, "data:;;;,", "data:base64,====", "data:text/plain;a=b;base64;c,Y Q",
	} {
		f.Add([]byte(uri))
	}
	f.Fuzz(func(t *testing.T, uri []byte) {
		if len(uri) < 5 {
			return
		}
		u, err := parseDataURI(uri)
		if err != nil {
			return
		}
		data, err := u.decode(1 << 20)
		if cap(data) > len(uri)+3 {
			t.Errorf("%d bytes of memory for a text of %d", cap(data), len(uri))
		}
		if want, broken := url.PathUnescape(string(u.data)); !u.base64 && broken == nil && (err != nil || string(data) != want) {
			t.Errorf("%q, %v, want %q", data, err, want)
		}
		if want, broken := base64.StdEncoding.DecodeString(string(u.data)); u.base64 && broken == nil && (err != nil || !bytes.Equal(data, want)) {
			t.Errorf("%q, %v, want %q", data, err, want)
		}
		if most := int64(len(data)) - 1; err == nil && most >= 0 {
			if less, err := u.decode(most); !errors.Is(err, errTooLarge) {
				t.Errorf("%d bytes in %d: %q, %v", len(data), most, less, err)
			}
		}
	})
}

func BenchmarkDecodeBase64(b *testing.B) {
	text := []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("The quick brown fox\x00\xff"), 1<<18)))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeBase64(text, true, 1<<30); err != nil {
			b.Fatal(err)
		}
	}
}
