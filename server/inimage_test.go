package server

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
	"penstock/internal/imagetest"
	"penstock/outcome"
	"penstock/run/store"
)

// inImage serves with the backend box, whose runs are scripts in an image.
func inImage(t *testing.T, change func(*config.Config, *config.Backend), with ...func(*Options)) (s *served, root string) {
	t.Helper()
	root = imagetest.Root(t)
	if err := os.WriteFile(filepath.Join(root, "etc/image"), []byte("inside"), 0o644); err != nil {
		t.Fatal(err)
	}
	with = append([]func(*Options){func(o *Options) { o.Process1 = imagetest.Process1 }}, with...)
	s = serve(t, func(c *config.Config) {
		b := config.Backend{Name: "box", Kind: "exec", Command: []string{"sh"}, Configured: true, Image: "tiny", Limits: limitsOf()}
		c.Images = map[string]config.Image{"tiny": {Rootfs: root, Home: "/home/agent"}}
		if change != nil {
			change(c, &b)
		}
		c.Backends["box"] = b
	}, with...)
	return s, root
}

// A run sees its cwd at the same path, its own directory and the image, and nothing else; its
// record and the model tell which image that is.
func TestInImage(t *testing.T) {
	var work string
	s, _ := inImage(t, func(c *config.Config, _ *config.Backend) { work = c.WorkspaceRoots[0] })
	r := s.chat("box", `cat /etc/image; echo; pwd; echo $HOME; hostname; touch $TMPDIR/x $HOME/y /tmp/z here && echo written; (touch /etc/w) 2>/dev/null || echo read-only; ls /`, false, `,"cwd":"`+work+`"`)
	want := "inside\n" + work + "\n/home/agent\ntiny\nwritten\nread-only\nbin dev etc home proc tmp var\n"
	text := strings.ReplaceAll(r.text, "\n", " ")
	if text != strings.ReplaceAll(want, "\n", " ") {
		t.Errorf("%d %q, want %q: %+v", r.status, r.text, want, r.err)
	}
	if _, err := os.Stat(filepath.Join(work, "here")); err != nil {
		t.Error(err)
	}
	var runs struct {
		Data []struct {
			Image store.Image
			Cause outcome.Cause
		}
	}
	if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs", "").body), &runs); err != nil || len(runs.Data) != 1 || runs.Data[0].Image.Name != "tiny" || runs.Data[0].Cause != outcome.Completed {
		t.Errorf("%v %+v", err, runs)
	}
	var model struct {
		Ready bool
		Image store.Image
	}
	if err := json.Unmarshal([]byte(s.ask("GET", "/v1/models/box", "").body), &model); err != nil || !model.Ready || model.Image.Name != "tiny" {
		t.Errorf("%v %+v", err, model)
	}
}
