package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"penstock/test/daemon"
)

// parts is the content of a message: text, then images, then files by name.
func parts(text string, images [][]byte, files map[string]string) []any {
	all := []any{map[string]any{"type": "text", "text": text}}
	for _, data := range images {
		url := "data:image/png;base64," + base64.StdEncoding.EncodeToString(data)
		all = append(all, map[string]any{"type": "image_url", "image_url": map[string]any{"url": url}})
	}
	for name, content := range files {
		data := "data:text/plain;base64," + base64.StdEncoding.EncodeToString([]byte(content))
		all = append(all, map[string]any{"type": "file", "file": map[string]any{"filename": name, "file_data": data}})
	}
	return all
}

func asking(model string, content []any, extra map[string]any) map[string]any {
	body := daemon.Body(model, "", extra)
	body["messages"] = []map[string]any{{"role": "user", "content": content}}
	return body
}

func sees(images ...[]byte) string {
	text := "sees:"
	for _, data := range images {
		text += fmt.Sprintf(" %x", sha256.Sum256(data))
	}
	return text
}

// Each CLI's model sees the images of each turn of a session, and knows of the turn before.
func TestImages_NextTurn(t *testing.T) {
	w := begin(t, "")
	pictures := [][]byte{picture(t, 10), picture(t, 60), picture(t, 20)}
	for _, cli := range three() {
		t.Run(cli, func(t *testing.T) {
			session := map[string]any{"session_id": "images-" + cli, "stream": true}
			for _, turn := range []struct {
				prompt string
				images [][]byte
				want   string
			}{
				{"SCN=text N=1 SEES REMEMBER{{heron}} @README.md", [][]byte{pictures[0], pictures[1]}, "tok0 " + sees(pictures[0], pictures[1]) + " marked-user-turns=1"},
				{"SCN=text N=1 SEES RECALL", [][]byte{pictures[2]}, "tok0 " + sees(pictures[2]) + " recalled: heron marked-user-turns=2"},
			} {
				a, err := w.Chat(bounded(t, long), asking(cli, parts(turn.prompt, turn.images, nil), session), nil)
				if err != nil {
					t.Fatal(err)
				}
				if a.Text != turn.want || a.Error != nil || a.Finish != "stop" {
					t.Errorf("%s: text %q, finish %q, error %+v, want %q", turn.prompt, a.Text, a.Finish, a.Error, turn.want)
				}
			}
		})
	}
}

// A file lies where each CLI's own tool reads it, also where it may change nothing.
func TestFiles(t *testing.T) {
	w := begin(t, "", `permissions = "plan"`)
	for _, cli := range three() {
		t.Run(cli, func(t *testing.T) {
			id := "files-" + cli
			at := filepath.Join(w.Dir, "state", "runs", id, "in", "my_notes.txt")
			tool, argument := "read", "path"
			switch cli {
			case "claude":
				tool, argument = "Read", "file_path"
			case "codex":
				tool, argument, at = "exec_command", "cmd", "cat "+at
			case "gemini":
				tool, argument = "read_file", "file_path"
			case "kimi":
				tool = "Read"
			case "opencode":
				argument = "filePath"
			}
			call, err := json.Marshal(map[string]string{argument: at})
			if err != nil {
				t.Fatal(err)
			}
			content := parts("SCN=tool N=0 CALL{{"+tool+" "+string(call)+"}}", nil, map[string]string{"my notes.txt": "a heron stands\n"})
			a, err := w.Durable(bounded(t, long), id, "", asking(cli, content, map[string]any{"stream": true}), nil)
			if err != nil {
				t.Fatal(err)
			}
			log := w.model.Requests()
			last := log[len(log)-1]
			if !strings.Contains(last.ToolResult, "a heron stands") || a.Error != nil || a.Finish != "stop" {
				t.Errorf("the tool gave %q; text %q, finish %q, error %+v", last.ToolResult, a.Text, a.Finish, a.Error)
			}
			if !strings.Contains(last.LastUser, filepath.Join("in", "my_notes.txt")) {
				t.Errorf("the prompt does not name the file: %q", last.LastUser)
			}
		})
	}
}
