package model

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
)

// pictured are, per protocol, an answered turn with the image "old" and a turn with the
// image "new", of which a tool gave the image "read" where the protocol has such results.
func pictured(name string) (path, body string) {
	image := func(form, data string) string {
		return strings.ReplaceAll(form, "@", base64.StdEncoding.EncodeToString([]byte(data)))
	}
	const prompt = "SCN=text N=0 SEES"
	switch name {
	case "anthropic":
		const form = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"@"}}`
		return "/v1/messages", `{"messages":[{"role":"user","content":[` + image(form, "old") + `,{"type":"text","text":"SCN=text"}]},{"role":"assistant","content":"done"},
			{"role":"user","content":[{"type":"text","text":"` + prompt + `"},` + image(form, "new") + `]},{"role":"assistant","content":[{"type":"tool_use"}]},
			{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"x"},` + image(form, "read") + `]}]}]}`
	case "responses":
		const form = `{"type":"input_image","image_url":"data:image/png;base64,@"}`
		return "/v1/responses", `{"input":[{"type":"message","role":"user","content":[` + image(form, "old") + `,{"type":"input_text","text":"SCN=text"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"done"}]},
			{"type":"message","role":"user","content":[{"type":"input_text","text":"` + prompt + `"},` + image(form, "new") + `]},{"type":"function_call"},
			{"type":"function_call_output","output":[{"type":"input_text","text":"x"},` + image(form, "read") + `]}]}`
	case "chat":
		const form = `{"type":"image_url","image_url":{"url":"data:image/png;base64,@"}}`
		return "/v1/chat/completions", `{"messages":[{"role":"user","content":[` + image(form, "old") + `,{"type":"text","text":"SCN=text"}]},{"role":"assistant","content":"done"},
			{"role":"user","content":[{"type":"text","text":"` + prompt + `"},` + image(form, "new") + `]}]}`
	}
	const form = `{"inlineData":{"mimeType":"image/png","data":"@"}}`
	return "/v1beta/models/fake-model:generateContent", `{"contents":[{"role":"user","parts":[` + image(form, "old") + `,{"text":"SCN=text"}]},{"role":"model","parts":[{"text":"done"}]},
		{"role":"user","parts":[{"text":"` + prompt + `"},` + image(form, "new") + `]},{"role":"model","parts":[{"functionCall":{}}]},
		{"role":"user","parts":[{"functionResponse":{"response":{"output":"x"},"parts":[` + image(form, "read") + `]}}]}]}`
}

// An image is known by its digest in the answer and in the log, and only where it belongs.
func TestSeesImages(t *testing.T) {
	const (
		newImage = "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"
		read     = "3316348dbadfb7b11c7c2ea235949419e23f9fa898ad2c198f999617912a9925"
	)
	for _, c := range clients() {
		s := ForTest(t)
		path, body := pictured(c.name)
		res, err := http.Post(s.URL()+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(res.Body)
		res.Body.Close()
		want := "sees: " + newImage
		if c.name != "chat" {
			want += " " + read
		}
		if !strings.Contains(string(raw), want+" marked-user-turns=2") {
			t.Errorf("%s: %s lacks %q", c.name, raw, want)
		}
		images := s.Requests()[0].Images
		if len(images) == 0 || images[0] != (Image{"image/png", newImage, 3}) {
			t.Errorf("%s: logged %+v", c.name, images)
		}
	}
}

// What the model does next depends on what has been answered, and on a tool's results.
func TestScriptsGoOn(t *testing.T) {
	eachClient(t, func(t *testing.T, s *Server, c client) {
		for _, row := range []struct {
			name       string
			turns      []turn
			text, call string
		}{
			{"only", []turn{user(`SCN=only SAY{{{"a":{"b":{}},"c":[{}]}}}`)}, `{"a":{"b":{}},"c":[{}]}`, ""},
			{"then", []turn{user("SCN=only SAY{{one}} THEN{{two}}"), assistant("one"), user("again, please")}, "two", ""},
			{"later", []turn{user("SCN=later N=0 CMD{{ls}}")}, "marked-user-turns=1", ""},
			{"later, asked again", []turn{user("SCN=later N=0 CMD{{ls}}"), assistant("x"), user("call the tool")}, "", "ls"},
			{"lead", []turn{user("SCN=tool LEAD{{I look.}} CMD{{ls}}")}, "I look.", "ls"},
			{"call", []turn{user(`SCN=tool CALL{{x {"command":"{{}}"}}}`)}, "", "{{}}"},
			{"second call", []turn{user(`SCN=tool CALL{{x {"command":"one"}}} CALL{{x {"command":"two"}}}`), result("done")}, "", "two"},
			{"no third", []turn{user(`SCN=tool N=0 CALL{{x {}}} CALL{{x {}}}`), result("a"), result("b")}, "tool-said: b marked-user-turns=1", ""},
		} {
			a := ask(t, s, c, true, true, row.turns...)
			if a.text != row.text || !strings.Contains(a.call, row.call) || row.call == "" && a.call != "" {
				t.Errorf("%s: text %q, call %q, want %q, %q", row.name, a.text, a.call, row.text, row.call)
			}
		}
	})
}
