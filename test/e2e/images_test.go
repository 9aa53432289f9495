package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"strings"
	"testing"
)

// picture is a PNG of noise, so that its bytes are as many as its pixels make.
func picture(t *testing.T, side int) []byte {
	t.Helper()
	seed := uint32(side)
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		seed = seed*1664525 + 1013904223
		img.Set(i%side, i/side, color.RGBA{uint8(seed >> 24), uint8(seed >> 16), uint8(seed >> 8), 255})
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// imageQuestion asks about a picture in a dialect.
func imageQuestion(dialect, model, text string, img []byte) (path string, body map[string]any) {
	data := base64.StdEncoding.EncodeToString(img)
	uri := "data:image/png;base64," + data
	content := func(parts ...map[string]any) []map[string]any {
		return []map[string]any{{"role": "user", "content": parts}}
	}
	switch dialect {
	case "responses":
		return "/v1/responses", map[string]any{"model": model, "store": false, "input": content(
			map[string]any{"type": "input_text", "text": text}, map[string]any{"type": "input_image", "image_url": uri})}
	case "messages":
		return "/v1/messages", map[string]any{"model": model, "max_tokens": 100, "messages": content(
			map[string]any{"type": "text", "text": text},
			map[string]any{"type": "image", "source": map[string]any{"type": "base64", "media_type": "image/png", "data": data}})}
	}
	return "/v1/chat/completions", map[string]any{"model": model, "messages": content(
		map[string]any{"type": "text", "text": text}, map[string]any{"type": "image_url", "image_url": map[string]any{"url": uri}})}
}

func (w *world) post(t *testing.T, path string, body map[string]any) (status int, reply string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(bounded(t, long), "POST", w.URL+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

// A model that can't see is told of before it is asked (TestConversation has those that can): the request's fault, and a remedy.
func TestImages_BlindModel(t *testing.T) {
	w := begin(t, "[backends.sh]\nkind = \"exec\"\ncommand = \"/bin/cat\"\n")
	img := picture(t, 10)
	for model, cause := range map[string]string{"pi/fake/blind": "unsupported_input", "opencode/fake/blind": "unsupported_input", "sh": "invalid_request"} {
		for _, dialect := range []string{"chat", "responses", "messages"} {
			t.Run(model+"/"+dialect, func(t *testing.T) {
				path, body := imageQuestion(dialect, model, "SCN=text N=1 SEES", img)
				status, reply := w.post(t, path, body)
				want := http.StatusBadRequest
				if dialect == "messages" && cause == "unsupported_input" {
					want = http.StatusNotAcceptable
				}
				if status != want || !strings.Contains(reply, fmt.Sprintf(`"x_cause":%q`, cause)) || strings.Contains(reply, "sees:") {
					t.Errorf("%d %s", status, reply)
				}
			})
		}
	}
}
