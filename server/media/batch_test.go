package media

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/internal/bytesize"
	"penstock/server/web"
)

func quoted(t testing.TB, text string) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func uri(kind string, data []byte) string {
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
}

func TestDecode(t *testing.T) {
	picture, photo := encodePNG(t, 3, 5), encodeJPEG(t, 3, 5)
	slashes := json.RawMessage(strings.ReplaceAll(string(quoted(t, uri("image/png", picture))), "/", `\/`)) // as PHP writes them
	batch, err := Decode([]Source{
		{Kind: Image, Where: "a", Data: quoted(t, uri("image/png", picture))},
		{Kind: Image, Where: "b", Data: slashes},
		{Kind: Image, Where: "c", Data: quoted(t, uri("image/png", photo))},                                                           // whatever is claimed
		{Kind: Image, Where: "d", Type: "image/jpg", Data: quoted(t, "\n"+base64.RawURLEncoding.EncodeToString(photo))},               // Anthropic's form
		{Kind: Image, Where: "e", Type: "image/png", Data: quoted(t, uri("image/png", webp(webpLossy(3, 5))))},                        //
		{Kind: File, Where: "f", Name: "photo.png", Data: quoted(t, base64.StdEncoding.EncodeToString(photo))},                        // a picture all the same
		{Kind: File, Where: "g", Name: "a.pdf", Data: quoted(t, uri("application/pdf", []byte("%PDF-1.7")))},                          //
		{Kind: File, Where: "h", Data: quoted(t, "data:text/csv;name=A.PDF,a%2Cb")},                                                   //
		{Kind: File, Where: "i", Type: "application/pdf", Name: "a.pdf", Data: quoted(t, uri("", []byte("%PDF-1.4")))},                //
		{Kind: Text, Where: "j", Name: "notes.md", Type: "text/markdown", Data: quoted(t, "data:,is \"text\"")},                       //
		{Kind: Text, Where: "k", Type: "application/pdf", Data: quoted(t, " plain ")},                                                 //
		{Kind: File, Where: "l", Name: "logo.svg", Type: "image/svg+xml", Data: quoted(t, "data:image/svg+xml,<svg fill='%23fff'/>")}, //
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := batch.Fetch(t.Context(), nil, nil)
	want := []backend.Attachment{
		{Name: "image-1.png", Type: typePNG, Data: picture}, {Name: "image-2.png", Type: typePNG, Data: picture}, {Name: "image-3.jpg", Type: typeJPEG, Data: photo},
		{Name: "image-4.jpg", Type: typeJPEG, Data: photo}, {Name: "image-5.webp", Type: typeWebP, Data: webp(webpLossy(3, 5))}, {Name: "photo.jpg", Type: typeJPEG, Data: photo},
		{Name: "a.pdf", Type: typePDF, Data: []byte("%PDF-1.7")}, {Name: "A-2.PDF", Type: "text/csv", Data: []byte("a,b")}, {Name: "a-3.pdf", Type: typePDF, Data: []byte("%PDF-1.4")},
		{Name: "notes.md", Type: "text/markdown", Data: []byte(`data:,is "text"`)}, {Name: "file-11.txt", Type: typeText, Data: []byte(" plain ")},
		{Name: "logo.svg", Type: typeText, Data: []byte("<svg fill='#fff'/>")},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// What is wrong is told with its place and what to do, and with none of the data.
func TestDecode_Refused(t *testing.T) {
	const secret = "c2VjcmV0c2VjcmV0"
	for name, c := range map[string]struct {
		source Source
		told   string
	}{
		"null":                   {Source{Data: json.RawMessage("null")}, "must be a string"},
		"an object":              {Source{Data: json.RawMessage(`{"url":"x"}`)}, "must be a string"},
		"nothing":                {Source{}, "must be a string"},
		"empty":                  {Source{Data: quoted(t, "")}, "empty"},
		"an empty URI":           {Source{Data: quoted(t, "data:image/png;base64,")}, "empty"},
		"an empty text":          {Source{Kind: Text, Data: quoted(t, "")}, "empty"},
		"no base64":              {Source{Data: quoted(t, secret+"!")}, "not base64 at byte 17 of 17"},
		"a path":                 {Source{Data: quoted(t, "/tmp/"+secret+".png")}, "not base64 at byte 22"},
		"a file's URL":           {Source{Data: quoted(t, "file:///tmp/"+secret)}, `"file:" is no scheme`},
		"a blob":                 {Source{Data: quoted(t, "blob:"+secret)}, `"blob:" is no scheme`},
		"no scheme":              {Source{Data: quoted(t, secret+" "+secret+": x")}, "not base64"},
		"no comma":               {Source{Data: quoted(t, "data:image/png;base64"+secret)}, "no comma"},
		"no host":                {Source{Data: quoted(t, "https:///"+secret)}, "not a URL"},
		"no URL":                 {Source{Data: quoted(t, "http://a b/"+secret)}, "not a URL"},
		"a long URL":             {Source{Data: quoted(t, "http://a/"+strings.Repeat("x", urlMax))}, "over 4096 bytes"},
		"cut off":                {Source{Data: quoted(t, "data:image/png;base64,"+secret+"A")}, "cut off"},
		"no picture":             {Source{Data: quoted(t, "data:image/png;base64,"+secret)}, "send PNG, JPEG, GIF or WebP"},
		"SVG":                    {Source{Data: quoted(t, uri("image/svg+xml", []byte("<svg/>")))}, "looks like SVG"},
		"without ;base64":        {Source{Data: quoted(t, "data:image/png,"+secret)}, "no ;base64"},
		"a PDF as an image":      {Source{Data: quoted(t, uri("", []byte("%PDF-1.7")))}, "send it as a file"},
		"a page as PDF":          {Source{Kind: File, Type: "application/pdf", Data: quoted(t, uri("", []byte("<html>")))}, "said to be PDF"},
		"a header alone":         {Source{Data: quoted(t, uri("", pngHeader(3, 5)[:20]))}, "the PNG ends before"},
		"no pixels":              {Source{Data: quoted(t, uri("", pngHeader(0, 5)))}, "no pixels (0 by 5)"},
		"too wide":               {Source{Data: quoted(t, uri("", pngHeader(SideMax+1, 1)))}, "8001 by 1 pixels"},
		"too high":               {Source{Data: quoted(t, uri("", jpegHeader(0xc0, 1, SideMax+1)))}, "1 by 8001 pixels"},
		"too many pixels":        {Source{Data: quoted(t, uri("", webp(webpExtended(7000, 7000))))}, "at most 8000 a side and 40 million"},
		"a bomb":                 {Source{Data: quoted(t, uri("", pngHeader(1<<32-1, 1<<32-1)))}, "a side"},
		"a bomb as a file":       {Source{Kind: File, Data: quoted(t, uri("text/plain", gifHeader(1, 1, 0, 0, 65535, 65535)))}, "a side"},
		"too large":              {Source{Kind: File, Data: quoted(t, uri("text/plain", make([]byte, EachMax+1)))}, "over 6 MiB"},
		"too large a text":       {Source{Kind: Text, Data: quoted(t, strings.Repeat("x", EachMax+1))}, "over 6 MiB"},
		"too large, not base64":  {Source{Kind: File, Data: quoted(t, "data:,"+strings.Repeat("x", EachMax+1))}, "over 6 MiB"},
		"URL, where none is got": {Source{Data: quoted(t, "https://example.net/"+secret)}, "attachments.fetch"},
	} {
		c.source.Where = "messages[2].content[1].image_url.url"
		_, err := resolve(t, c.source)
		var told *web.Error
		if !errors.As(err, &told) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if told.Status != http.StatusBadRequest || told.Code != web.InvalidRequest || told.Param != c.source.Where || !strings.Contains(told.Message, c.told) || strings.Contains(told.Error(), secret) {
			t.Errorf("%s: %d %s, %s: %s", name, told.Status, told.Code, told.Param, told.Error())
		}
		if !strings.ContainsAny(told.Message, ":") && !strings.Contains(told.Message, "must be") || len(told.Message) > 250 {
			t.Errorf("%s: says not what to do, or too much: %s", name, told.Message)
		}
	}
}

func resolve(t *testing.T, sources ...Source) ([]backend.Attachment, error) {
	t.Helper()
	batch, err := Decode(sources)
	if err != nil {
		return nil, err
	}
	return batch.Fetch(t.Context(), nil, nil)
}

// The bounds of a turn are over all of it, and name the part that passes them.
func TestDecode_Bounds(t *testing.T) {
	times := func(n int, s Source) (all []Source) {
		for i := range n {
			s.Where = "part " + strconv.Itoa(i)
			all = append(all, s)
		}
		return all
	}
	small := Source{Kind: Text, Data: quoted(t, "x")}
	large := Source{Kind: File, Data: quoted(t, "data:,"+strings.Repeat("x", EachMax))}
	wide := Source{Data: quoted(t, uri("", pngHeader(SideMax, PixelsMax/SideMax)))}
	for name, c := range map[string]struct {
		sources     []Source
		param, told string
	}{
		"as many as may be": {times(CountMax, small), "", ""},
		"one too many":      {times(CountMax+1, small), "part 20", "more than 20"},
		"as large":          {append(times(2, large), times(1, Source{Kind: Text, Data: quoted(t, strings.Repeat("x", TotalMax-2*EachMax))})...), "", ""},
		"too large":         {times(3, large), "part 2", "16 MiB together"},
		"as many pixels":    {times(PixelsTotalMax/PixelsMax, wide), "", ""},
		"too many pixels":   {times(PixelsTotalMax/PixelsMax+1, wide), "part 4", "160 million pixels together"},
	} {
		_, err := resolve(t, c.sources...)
		var told *web.Error
		if c.told == "" && err != nil || c.told != "" && (!errors.As(err, &told) || told.Param != c.param || !strings.Contains(told.Message, c.told)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A batch holds what is decoded once, and nothing of the body.
func TestDecode_Memory(t *testing.T) {
	raw := quoted(t, uri("image/png", append(pngHeader(3, 5), make([]byte, 4<<20)...)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	batch, err := Decode([]Source{{Data: raw}})
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20+64<<10 {
		t.Errorf("%d bytes to decode %d", took, 4<<20)
	}
	if batch.parts[0].Data != nil || !bytes.HasPrefix(batch.parts[0].attachment.Data, []byte("\x89PNG")) {
		t.Error("the batch holds the body")
	}
}

// The handbook has the figures.
func TestBounds_Documented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n### Images and files\n")
	section, _, _ = strings.Cut(section, "\n##")
	if !ok {
		t.Fatal("docs/api.md has no section about images and files")
	}
	for _, figure := range []string{
		strconv.Itoa(CountMax), bytesize.Human(EachMax), bytesize.Human(TotalMax), strconv.Itoa(SideMax), strconv.Itoa(PixelsMax/1e6) + " million", strconv.Itoa(PixelsTotalMax/1e6) + " million",
		strconv.Itoa(redirectsMax) + " redirects",
	} {
		if !strings.Contains(section, figure) {
			t.Errorf("docs/api.md doesn't say %s", figure)
		}
	}
}
