package kinds

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

var (
	photo = backend.Attachment{Name: "a b.png", Type: "image/png", Data: drawn("png")}
	other = backend.Attachment{Name: "b", Type: "image/jpeg", Data: []byte("\xff\xd8\xff")}
	paper = backend.Attachment{Name: "my notes.txt", Type: "text/plain", Data: []byte("some notes")}
)

// drawn is a picture of that form.
func drawn(form string) []byte {
	var out bytes.Buffer
	m := image.NewPaletted(image.Rect(0, 0, 32, 32), color.Palette{color.Black, color.White})
	var err error
	switch form {
	case "png":
		err = png.Encode(&out, m)
	case "gif":
		err = gif.Encode(&out, m, nil)
	default:
		err = jpeg.Encode(&out, m, nil)
	}
	if err != nil {
		return nil
	}
	return out.Bytes()
}

// What each CLI made of pictures: the model saw their very bytes, also in a session that was
// taken up, and what won't get there is told.
func TestKinds_ImageRecordings(t *testing.T) {
	const one, two = "f73423b86d9da5f7084eb9b1a8702fef2716b4250648fbd3a9af71f44639bfe8", "4e9f27451a3aab2bcba9d33fd473333c6a846b688b2fccf37f7f240b4a59b627"
	for _, kind := range []string{"codex", "opencode", "kimi", "gemini"} {
		for scenario, text := range map[string]string{
			"images":         "tok0 sees: " + one + " " + two + " marked-user-turns=1",
			"images-resumed": "tok0 sees: " + one + " recalled: heron marked-user-turns=2",
		} {
			s := listen(t, replay(t, kind, scenario, requestOf(t, kind, scenario)))
			if s.Text != text || s.ended() != "stop" {
				t.Errorf("%s %s: text %q, ended with %s (%+v), want %q", kind, scenario, s.Text, s.ended(), s.End, text)
			}
		}
	}
	if s := listen(t, replay(t, "codex", "images-damaged", backend.Request{})); s.ended() != "unsupported_input" || !strings.Contains(s.End.Failure.Message, "damaged") {
		t.Errorf("codex: a damaged image ended with %s (%+v)", s.ended(), s.End)
	}
	for scenario, words := range map[string][]string{"images-blind": {"OpenCode", "fake/blind", "modalities.input"}, "images-damaged": {"refused the prompt with its images"}} {
		s := listen(t, replay(t, "opencode", scenario, backend.Request{Model: blindModel(scenario)}))
		if s.ended() != "unsupported_input" {
			t.Fatalf("%s: ended with %s", scenario, s.ended())
		}
		for _, word := range words {
			if !strings.Contains(s.End.Failure.Message, word) {
				t.Errorf("%s: %q lacks %q", scenario, s.End.Failure.Message, word)
			}
		}
	}
}

func blindModel(scenario string) string {
	return map[string]string{"images-blind": "fake/blind"}[scenario]
}

// A replay knows neither prompt nor attachments, and gives the same events; the next daemon knows
// both, and writes the same bytes.
func TestKinds_ReplayWithoutAttachments(t *testing.T) {
	for _, kind := range []string{"codex", "opencode", "kimi", "gemini", "acp"} {
		for _, scenario := range []string{"images", "images-resumed", "images-blind", "images-damaged", "converse-again"} {
			if kind != "opencode" && scenario == "images-blind" {
				continue
			}
			from := kind
			if kind == "acp" {
				from = "kimi"
			}
			bare := requestOf(t, from, scenario)
			bare.Cwd, bare.Dir, bare.Model = "/home/user/project", "/run/dir", blindModel(scenario)
			live := bare
			live.Prompt, live.System, live.Attachments = "what is it", "be brief", []backend.Attachment{photo, paper, other}
			if scenario == "converse-again" {
				live.Attachments = nil
			}
			said, events := talkTo(machineOf(t, kind, live), recording(t, from, scenario))
			next, _ := talkTo(machineOf(t, kind, live), recording(t, from, scenario))
			if diff := cmp.Diff(string(said), string(next)); diff != "" {
				t.Errorf("%s %s: the same answers, other words: %s", kind, scenario, diff)
			}
			_, again := talkTo(machineOf(t, kind, bare), recording(t, from, scenario))
			if diff := cmp.Diff(events, again); diff != "" {
				t.Errorf("%s %s: (-live +replay)\n%s", kind, scenario, diff)
			}
		}
	}
}

// talkTo feeds a machine, tells it a second prompt after the first Done, and gives all that it
// wrote.
func talkTo(m backend.Machine, data []byte) (said []byte, events []backend.Event) {
	write := func(lines [][]byte) {
		for _, line := range lines {
			said = append(append(said, line...), '\n')
		}
	}
	write(m.Open())
	asked := false
	for line := range strings.Lines(string(data)) {
		got, more := m.Line([]byte(strings.TrimSuffix(line, "\n")))
		events = append(events, got...)
		write(more)
		done := len(got) > 0 && got[len(got)-1].Kind == backend.Done
		if r, ok := m.(backend.Reprompter); ok && done && !asked {
			asked = true
			write(r.Reprompt("Once more, please."))
		}
	}
	return said, append(events, m.Close()...)
}

// Images go as they are, or as files, and documents by path.
func TestKinds_SendImages(t *testing.T) {
	r := backend.Request{Prompt: "/look", Dir: "/run/dir", Attachments: []backend.Attachment{photo, paper, other}}
	blocks := func(kind string, lines ...string) []any {
		t.Helper()
		events, _, raw := talk(t, kind, r, lines...)
		var call struct{ Params struct{ Prompt, Input []any } }
		if err := json.Unmarshal(raw[len(raw)-1], &call); err != nil {
			t.Fatal(err)
		}
		if len(call.Params.Prompt)+len(call.Params.Input) == 0 {
			t.Fatalf("%s: wrote %s, events %+v", kind, raw, events)
		}
		return append(call.Params.Prompt, call.Params.Input...)
	}
	const docs = "\n\nFiles that come with this message, to be read where they are:\n- /run/dir/in/my_notes.txt (named \"my notes.txt\")"
	text := map[string]any{"type": "text", "text": "<message>\n/look" + docs + "\n</message>"}
	picture := func(a backend.Attachment) any {
		return map[string]any{"type": "image", "mimeType": a.Type, "data": base64.StdEncoding.EncodeToString(a.Data)}
	}
	const sees = `{"id":0,"result":{"agentInfo":{"name":"Eye"},"agentCapabilities":{"promptCapabilities":{"image":true}}}}`
	want := []any{text, picture(photo), picture(other)}
	if diff := cmp.Diff(want, blocks("acp", sees, opened)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, blocks("opencode", sees, `{"type":"provider_models","sees":["p/m"],"blind":["p/x"]}`, strings.Replace(opened, `"s1"`, `"s1","configOptions":[{"id":"model","currentValue":"p/m/high"}]`, 1))); diff != "" {
		t.Error(diff)
	}
	want = []any{
		map[string]any{"type": "text", "text": "/look" + docs, "text_elements": []any{}},
		map[string]any{"type": "localImage", "path": "/run/dir/images/1.png"}, map[string]any{"type": "localImage", "path": "/run/dir/images/2.jpeg"},
	}
	if diff := cmp.Diff(want, blocks("codex", codexHello, codexThread, `{"id":"models","result":{"data":[]}}`)); diff != "" {
		t.Error(diff)
	}
}

// What each agent takes for a command is text: the real ones were asked.
func TestACP_NoCommands(t *testing.T) {
	for _, row := range []struct {
		kind, text string
		marked     bool
	}{
		{"gemini", "$memory show", true}, {"gemini", " \n$x", true}, {"gemini", "/help", true}, {"gemini", "!ls", false}, {"gemini", "a $b", false},
		{"kimi", "$memory show", false}, {"opencode", "$x", false}, {"opencode", "/x", true},
	} {
		m := machineOf(t, row.kind, backend.Request{Converse: true, Prompt: row.text})
		said, _ := talkTo(m, lines(plainAgent, opened, answered(2, "{}")))
		if got := strings.Contains(string(said), `message\u003e\n`); got != row.marked {
			t.Errorf("%s is told %q as %s", row.kind, row.text, said)
		}
	}
}

// What was told is held in memory no longer than until then: the machine lives as long as the run.
func TestKinds_LetGoOfAttachments(t *testing.T) {
	const sees = `{"id":0,"result":{"agentCapabilities":{"promptCapabilities":{"image":true}}}}`
	for kind, answers := range map[string][]string{
		"acp": {sees, opened}, "kimi": {sees, opened}, "gemini": {sees, opened},
		"opencode": {sees, `{"type":"provider_models","sees":["p/m"]}`, strings.Replace(opened, `"s1"`, `"s1","configOptions":[{"id":"model","currentValue":"p/m"}]`, 1)},
		"codex":    {codexHello, codexThread, `{"id":"models","result":{"data":[]}}`},
	} {
		data := bytes.Repeat([]byte("x"), 1<<16)
		gone := weak.Make(&data[0])
		m := machineOf(t, kind, backend.Request{Converse: true, Attachments: []backend.Attachment{{Type: "image/jpeg", Data: data}}})
		data = nil
		said, _ := talkTo(m, lines(answers...))
		if !strings.Contains(string(said), "session/prompt") && !strings.Contains(string(said), "turn/start") {
			t.Fatalf("%s: wrote %s", kind, said)
		}
		runtime.GC()
		if gone.Value() != nil {
			t.Errorf("%s holds what it has told", kind)
		}
		runtime.KeepAlive(m)
	}
}

// Where images would not get to the model the run fails before the prompt is told.
func TestKinds_BlindRecipients(t *testing.T) {
	const (
		agent = `{"id":0,"result":{"agentInfo":{"name":"Mole"},"agentCapabilities":{"promptCapabilities":{"image":IMAGE}}}}`
		model = `{"id":1,"result":{"sessionId":"s1","configOptions":[{"id":"model","currentValue":"p/m"}]}}`
		takes = `{"type":"provider_models","sees":["p/eye"],"blind":["p/m"]}`
		codex = `{"id":1,"result":{"model":"M","thread":{"id":"T"}}}`
	)
	for _, row := range []struct {
		name, kind string
		lines      []string
		want       []string // in the message; none: it is told
	}{
		{"an agent that sees", "acp", []string{strings.Replace(agent, "IMAGE", "true", 1), model}, nil},
		{"one that doesn't", "acp", []string{strings.Replace(agent, "IMAGE", "false", 1), `{"id":"unsupported input: agent","error":{"code":-32600,"message":"once"}}`}, []string{"Mole", "no images", "backend"}},
		{"one that says nothing", "kimi", []string{plainAgent, `{"id":"unsupported input: agent","result":{}}`}, []string{"the agent"}},
		{"opencode's model", "opencode", []string{strings.Replace(agent, "IMAGE", "true", 1), takes, model, `{"id":"unsupported input: model","result":{}}`}, []string{"Mole", "p/m", "opencode.json"}},
		{"not told", "opencode", []string{strings.Replace(agent, "IMAGE", "true", 1), model, `{"id":"unsupported input: unknown","result":{}}`}, []string{"Mole", "p/m", "BUN_INSPECT_PRELOAD"}},
		{"codex's model", "codex", []string{codexHello, codex, `{"id":"models","result":{"data":[{"model":"M","inputModalities":["text"]}]}}`}, []string{"codex", " M ", "no images"}},
		{"codex's seeing model", "codex", []string{codexHello, codex, `{"id":"models","result":{"data":[{"model":"x","inputModalities":["text"]},{"model":"M","inputModalities":["text","image"]}]}}`}, nil},
		{"an older codex's", "codex", []string{codexHello, codex, `{"id":"models","result":{"data":[{"model":"M"}]}}`}, nil},
		{"codex's damaged image", "codex", []string{codexHello, codex, `{"id":"damaged image","result":{"data":[]}}`}, []string{"damaged", "codex"}},
		{"codex has no list", "codex", []string{codexHello, codex, `{"id":"models","error":{"code":-32600,"message":"unknown method"}}`}, nil},
	} {
		events, wrote, _ := talk(t, row.kind, backend.Request{Attachments: []backend.Attachment{photo}}, row.lines...)
		s := listen(t, events)
		told := slices.Contains(wrote, "session/prompt") || slices.Contains(wrote, "turn/start")
		if told != (row.want == nil) || (s.ended() == "unsupported_input") != (row.want != nil) {
			t.Errorf("%s: ended with %s (%+v), wrote %q", row.name, s.ended(), s.End, wrote)
			continue
		}
		for _, word := range row.want {
			if !strings.Contains(s.End.Failure.Message, word) {
				t.Errorf("%s: %q lacks %q", row.name, s.End.Failure.Message, word)
			}
		}
		// What the CLI said last tells it, also to a replay.
		if before, _, _ := talk(t, row.kind, backend.Request{Attachments: []backend.Attachment{photo}}, row.lines[:len(row.lines)-1]...); listen(t, before).End != nil {
			t.Errorf("%s: ended before the last line", row.name)
		}
		events, _, _ = talk(t, row.kind, backend.Request{}, row.lines...)
		if replayed := listen(t, events); replayed.ended() != s.ended() {
			t.Errorf("%s: a replay ends with %s, want %s", row.name, replayed.ended(), s.ended())
		}
	}
}

// What codex (0.169.0) leaves out without a word: held to the real one.
func TestCodex_DamagedImages(t *testing.T) {
	webp, err := base64.StdEncoding.DecodeString("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(data []byte, at int) []byte {
		data = bytes.Clone(data)
		data[at] ^= 0x55
		return data
	}
	png, gif, jpeg := drawn("png"), drawn("gif"), drawn("jpeg")
	for name, row := range map[string]struct {
		form  string
		data  []byte
		whole bool
	}{
		"png": {"png", png, true}, "png, more after it": {"png", append(bytes.Clone(png), "more"...), true}, "png, half": {"png", png[:len(png)/2], false},
		"png, without its end": {"png", png[:len(png)-12], false}, "png, a bit": {"png", flipped(png, len(png)-20), false}, "png, a length": {"png", flipped(png, 8), false},
		"png, nothing": {"png", png[:8], false}, "png, less": {"png", png[:3], false},
		"gif": {"gif", gif, true}, "gif, half": {"gif", gif[:len(gif)/2], false}, "gif, without its end": {"gif", gif[:len(gif)-1], true}, "gif, head": {"gif", gif[:13], false}, "gif, less": {"gif", gif[:5], false},
		"gif, a comment": {"gif", slices.Concat(gif[:13+6], []byte("\x21\xfe\x02hi\x00"), gif[13+6:]), true}, "gif, no image": {"gif", append(bytes.Clone(gif[:13+6]), ';'), false},
		"webp": {"webp", webp, true}, "webp, half": {"webp", webp[:24], false}, "webp, less": {"webp", webp[:9], false},
		"jpeg": {"jpeg", jpeg, true}, "jpeg, half": {"jpeg", jpeg[:len(jpeg)/2], true},
	} {
		r := backend.Request{Attachments: []backend.Attachment{photo, {Name: "x", Type: "image/" + row.form, Data: row.data}}}
		_, _, raw := talk(t, "codex", r, codexHello, codexThread)
		if asked := string(raw[len(raw)-1]); strings.Contains(asked, `"id":"models"`) != row.whole || strings.Contains(asked, `"id":"damaged image"`) == row.whole {
			t.Errorf("%s: wrote %s", name, asked)
		}
	}
}

// An agent that asks before it reads outside of its directory may read the documents of the
// prompt, whatever else it may.
func TestACP_OwnDocuments(t *testing.T) {
	ask := func(read string, at ...string) string {
		line, _ := json.Marshal(map[string]any{"id": "p7", "method": "session/request_permission", "params": map[string]any{
			"options":  []any{map[string]any{"optionId": "yes", "kind": "allow_once"}, map[string]any{"optionId": "no", "kind": "reject_once"}},
			"toolCall": map[string]any{"rawInput": map[string]any{"filepath": read}, "locations": located(at)},
		}})
		return string(line)
	}
	for _, row := range []struct {
		line, want string
	}{
		{ask("/run/dir/in/a.txt", "/run/dir/in/a.txt", "/run/dir/in"), "yes"},
		{ask("/run/dir/in/a.txt"), "yes"},
		{ask("/run/dir/in/../../etc/passwd", "/run/dir/in"), "no"},
		{ask("/run/dir/in/a.txt", "/run/dir/in/a.txt", "/etc"), "no"},
		{ask("/run/dir/inner/a.txt", "/run/dir/inner"), "no"},
		{ask("", "/run/dir/in"), "no"}, // a command
	} {
		for _, permissions := range []string{"plan", "default"} {
			_, _, raw := talk(t, "acp", backend.Request{Permissions: permissions, Dir: "/run/dir"}, row.line)
			if got := string(raw[len(raw)-1]); !strings.Contains(got, `"`+row.want+`"`) {
				t.Errorf("%s %s: wrote %s", permissions, row.line, got)
			}
		}
	}
}

func located(paths []string) (out []any) {
	for _, p := range paths {
		out = append(out, map[string]any{"path": p})
	}
	return out
}

// The files that each CLI is given, and what it is told of them.
func TestKinds_AttachedFiles(t *testing.T) {
	images, documents := []string{"images/1.png", "images/2.jpeg"}, []string{"in/my_notes.txt"}
	r := backend.Request{Prompt: "p", Dir: "/run/dir", Converse: true, Attachments: []backend.Attachment{photo, paper, other}}
	resumed := r
	resumed.Session = "s1"
	for _, row := range []struct {
		name, kind string
		r          backend.Request
		files      []string
		argv       string // in it
		told       string // the prompt of a CLI that isn't spoken to
		model      bool   // the script is to tell the models
	}{
		{"codex", "codex", r, slices.Concat(documents, images), "", "", false},
		{"opencode", "opencode", r, documents, "", "", true},
		{"kimi", "kimi", r, documents, "", "", false},
		{"acp", "acp", r, documents, "", "", false},
		{"gemini", "gemini", r, documents, "--acp --approval-mode yolo --skip-trust --include-directories /run/dir/in", "", false},
		{"gemini, resumed", "gemini", resumed, slices.Concat(documents, images),
			"--output-format stream-json --approval-mode yolo --skip-trust --resume s1 --include-directories /run/dir/in --include-directories /run/dir/images",
			"p\n\nFiles that come with this message, to be read where they are:\n- /run/dir/in/my_notes.txt (named \"my notes.txt\")\n\n@/run/dir/images/1.png\n@/run/dir/images/2.jpeg", false},
	} {
		c := commandOf(t, backend.Config{Name: row.kind, Kind: row.kind}, row.r)
		var got []string
		for _, f := range c.Files {
			if path.Dir(f.Name) == "." {
				continue // the CLI's own
			}
			got = append(got, f.Name)
			i := slices.IndexFunc(row.r.Attachments, func(a backend.Attachment) bool { return string(a.Data) == string(f.Data) })
			if i < 0 || row.r.Attachments[i].IsImage() != (path.Dir(f.Name) == "images") {
				t.Errorf("%s: %s holds %q", row.name, f.Name, f.Data)
			}
		}
		if !slices.Equal(got, row.files) || !strings.Contains(strings.Join(c.Argv, " "), row.argv) || string(c.Prompt) != row.told {
			t.Errorf("%s: files %q, argv %q, prompt %q", row.name, got, c.Argv, c.Prompt)
		}
		if (c.Set["TELL_MODELS"] != "") != row.model {
			t.Errorf("%s: set %v", row.name, c.Set)
		}
		if bare := commandOf(t, backend.Config{Name: row.kind, Kind: row.kind}, backend.Request{Prompt: "p", Dir: "/run/dir"}); bare.Set["TELL_MODELS"] != "" || strings.Contains(strings.Join(bare.Argv, " "), "include") {
			t.Errorf("%s, nothing attached: %+v", row.name, bare)
		}
	}
	b, err := New(backend.Config{Kind: "gemini"})
	if err != nil {
		t.Fatal(err)
	}
	r.Dir = "/run/a,b"
	if _, err := b.Command(r); err == nil || !strings.Contains(err.Error(), "comma") {
		t.Errorf("a directory that gemini can't be told: %v", err)
	}
}

func TestKinds_Features(t *testing.T) {
	for _, kind := range []string{"codex", "opencode", "kimi", "gemini", "acp"} {
		b, err := New(backend.Config{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		f := b.Features()
		if !f.Images || !f.Files || f.JSONSchema != (kind == "codex") || f.Effort != (kind == "codex") || f.Effort != (f.Efforts != nil) {
			t.Errorf("%s: %+v", kind, f)
		}
		for _, effort := range f.Efforts {
			if _, err := b.Command(backend.Request{Effort: effort}); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
}
