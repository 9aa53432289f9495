package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

// earlierCheckpoint is what the version wrote that knew no attachments.
const earlierCheckpoint = `{"request":{"Model":"m","System":"","Prompt":"","Session":"cli-1","Cwd":"/srv/work","Tmp":"/s/runs/r/tmp","Dir":"/s/runs/r","Effort":"high","Permissions":"","Root":true,"MemoryMax":0,"Version":""},"kind":"codex","words":{"prompt":5,"system":8},"record":{"id":"r","object":"run","state":"running","client":"c","backend":"agent","model":"agent","session_id":"talk","cli_session_id":"cli-1","created_at":"2026-11-29T07:00:00Z","started_at":"2026-11-29T07:00:00Z","enforced_by":{"memory":"","pids":"","kill":""},"output_bytes":0,"durable":true},"fingerprint":"Zg==","leader":7,"deadline":"2026-11-29T08:00:00Z","grace":1000000000,"stall":60000000000,"output_max":1048576,"line_max":1024,"soft_end":true,"settle":true,"talks":true,"session":{"client":"c","session":"talk","backend":"agent","cli_session":"cli-1","cwd":"/srv/work","home":"/home/x","updated":"2026-11-29T07:00:00Z"},"spool":11,"stderr":12,"fresh":{"prompt":9,"system":8}}`

// A checkpoint of an earlier version is read as it was meant, and one of a run to which
// nothing new was given is written as that version would.
func TestCheckpoint_OfAnEarlierVersion(t *testing.T) {
	d := newDirectory(t, nil)
	at := time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)
	want := &Checkpoint{
		Request: backend.Request{Model: "m", System: "be brief", Prompt: "hello", Session: "cli-1", Cwd: "/srv/work", Tmp: "/s/runs/r/tmp", Dir: "/s/runs/r", Effort: "high", Root: true},
		Kind:    "codex", Record: Record{ID: "r", Object: Object, State: Running, Client: "c", Backend: "agent", Model: "agent", Session: "talk", CLISession: "cli-1", Created: at, Started: &at, Durable: true},
		Fingerprint: []byte("f"), Leader: 7, Deadline: at.Add(time.Hour), Grace: time.Second, Stall: time.Minute, OutputMax: 1 << 20, LineMax: 1 << 10, SoftEnd: true, Settle: true, Talks: true,
		Session: Session{Client: "c", Session: "talk", Backend: "agent", CLISession: "cli-1", Cwd: "/srv/work", Home: "/home/x", Updated: at}, Spool: 11, Stderr: 12,
		Fresh: LengthOf(&PromptText{System: "be brief", Prompt: "all of it"}),
	}
	if err := d.SaveCheckpoint(want); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.StorePath(checkpointName))
	if diff := cmp.Diff(earlierCheckpoint+"\n", string(text)); err != nil || diff != "" {
		t.Errorf("%v, written (-earlier +now):\n%s", err, diff)
	}
	for name, text := range map[string]string{checkpointName: earlierCheckpoint, "prompt": "hello", "system": "be brief"} {
		if err := os.WriteFile(d.StorePath(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := d.loadCheckpoint()
	if err == nil {
		err = d.LoadTexts(got)
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, read (-want +got):\n%s", err, diff)
	}
}

// Of a prompt each byte may take six in JSON.
func TestTexts_OfALongPrompt(t *testing.T) {
	d := newDirectory(t, nil)
	w := &Checkpoint{Talks: true, Request: backend.Request{Prompt: strings.Repeat("\x01\xff", 6<<20), System: "s\x00"}}
	if err := d.SaveCheckpoint(w); err != nil {
		t.Fatal(err)
	}
	got, err := d.loadCheckpoint()
	if err == nil {
		err = d.LoadTexts(got)
	}
	if err != nil || got.Request.Prompt != w.Request.Prompt || got.Request.System != w.Request.System {
		t.Errorf("%v: not what was told", err)
	}
	if err := os.Truncate(d.StorePath(promptStoreName), 3); err != nil {
		t.Fatal(err)
	}
	if err := d.LoadTexts(got); err == nil || !strings.Contains(err.Error(), "3 bytes instead of") {
		t.Errorf("torn words: %v", err)
	}
}

// attached is a checkpoint of a run with attachments, as it is read.
func attached(t *testing.T, d *Dir, all ...backend.Attachment) *Checkpoint {
	t.Helper()
	if err := d.SaveCheckpoint(&Checkpoint{Request: backend.Request{Prompt: "p", Attachments: all, Converse: true}}); err != nil {
		t.Fatal(err)
	}
	got, err := d.loadCheckpoint()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What goes with a prompt is kept beside it, in order, and not in the checkpoint; what is
// forgotten is written no more.
func TestTexts_Attachments(t *testing.T) {
	d := newDirectory(t, nil)
	all := []backend.Attachment{
		{Name: "b", Type: "image/png", Data: []byte("\x89PNG\x00\n")}, {Name: "a", Type: "text/plain"},
		{Name: "b", Type: "image/png", Data: bytes.Repeat([]byte("x"), 9<<20)},
	}
	cp := attached(t, d, all...)
	if cp.Request.Attachments != nil || !cp.Request.Converse {
		t.Errorf("in the checkpoint: %+v", cp.Request)
	}
	if err := d.LoadTexts(cp); err != nil || cp.Request.Prompt != "p" || len(cp.Request.Attachments) != len(all) {
		t.Fatalf("%v: %d of %d", err, len(cp.Request.Attachments), len(all))
	}
	for i, a := range cp.Request.Attachments {
		if a.Name != all[i].Name || a.Type != all[i].Type || !bytes.Equal(a.Data, all[i].Data) {
			t.Errorf("%d: %s %s, %d bytes", i, a.Name, a.Type, len(a.Data))
		}
		if cap(a.Data) != len(a.Data) {
			t.Errorf("%d: appended to it, the next one would be another", i)
		}
	}
	info, err := os.Stat(d.StorePath(promptStoreName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Remove(d.StorePath(promptStoreName)); err != nil {
		t.Fatal(err)
	}
	cp.ForgetPrompt()
	if err := d.SaveCheckpoint(cp); err != nil || cp.Request.Attachments != nil {
		t.Errorf("forgotten: %v %v", cp.Request.Attachments, err)
	}
	if _, err := os.Stat(d.StorePath(promptStoreName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written again: %v", err)
	}
	text, err := os.ReadFile(d.StorePath(checkpointName))
	if err != nil || bytes.Contains(text, []byte("image/png")) {
		t.Errorf("told of still: %s %v", text, err)
	}
}

// A file that isn't what was written is told of, and gives nothing.
func TestTexts_TornAttachments(t *testing.T) {
	for name, test := range map[string]struct {
		file, says string
		lengths    func(n *TextLength)
	}{
		"cut":            {file: "pabcde", says: "6 bytes instead of 7"},
		"longer":         {file: "pabcdefg", says: "more than 7 bytes"},
		"another":        {file: "pabcdeF", says: "checksum of the attachments"},
		"only a prompt":  {file: "p", says: "1 bytes instead of 7"},
		"negative":       {file: "pabcdef", says: "not a length", lengths: func(n *TextLength) { n.Prompt, n.Attachments[0].Bytes = -5, 9 }},
		"negative parts": {file: "pabcdef", says: "not a length", lengths: func(n *TextLength) { n.Attachments[0].Bytes, n.Attachments[1].Bytes = -1, 7 }},
		"huge":           {file: "pabcdef", says: "not a length", lengths: func(n *TextLength) { n.Attachments[0].Bytes = 1<<63 - 1 }},
	} {
		d := newDirectory(t, nil)
		cp := attached(t, d, backend.Attachment{Name: "x", Data: []byte("abc")}, backend.Attachment{Name: "y", Data: []byte("def")})
		if test.lengths != nil {
			test.lengths(cp.Texts)
		}
		if err := os.WriteFile(d.StorePath(promptStoreName), []byte(test.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := d.LoadTexts(cp); err == nil || !strings.Contains(err.Error(), test.says) || cp.Request.Prompt != "" || cp.Request.Attachments != nil {
			t.Errorf("%s: %v, %+v", name, err, cp.Request)
		}
	}
}

// The lengths in a checkpoint are those of what is told, however it was read.
func TestLengthOf(t *testing.T) {
	n := LengthOf(&PromptText{Prompt: "é", System: "s", Attachments: []backend.Attachment{{Name: "n", Type: "t", Data: []byte("123456789")}}})
	text, err := json.Marshal(n)
	const crc = "3808858755" // CRC-32C of these digits, E3069283: its check value
	if want := `{"prompt":2,"system":1,"attachments":[{"name":"n","type":"t","bytes":9}],"sum":` + crc + `}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
