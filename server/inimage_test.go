package server

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
	"penstock/image"
	"penstock/internal/imagetest"
	"penstock/outcome"
	"penstock/run/store"
)

// inImage serves with the backend box, whose runs are scripts in an image.
func inImage(t *testing.T, change func(*config.Config, *config.Backend), with ...func(*Options)) (s *served, root string) {
	t.Helper()
	root = imagetest.Tree(t)
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
		imagetest.Unchanged(t, root)
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
	want := "inside\n" + work + "\n/home/agent\ntiny\nwritten\nread-only\nbin dev etc home proc sys tmp var\n"
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

// ended is what a run's record says of its end.
type ended struct {
	Cause    outcome.Cause
	Exit     *int   `json:"exit_code"`
	Signal   string `json:"signal"`
	Survived int    `json:"processes_after_leader"`
	Finish   string `json:"finish_reason"`
	Message  string
	Receipt  *struct{}
}

// lastEnd is of the newest run.
func (s *served) lastEnd() (e ended) {
	s.t.Helper()
	var runs struct{ Data []ended }
	if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs?limit=1", "").body), &runs); err != nil || len(runs.Data) != 1 {
		s.t.Fatalf("%v %+v", err, runs)
	}
	e = runs.Data[0]
	e.Message = regexp.MustCompile(`after [0-9.]+m?s`).ReplaceAllString(e.Message, "after a while")
	return e
}

// cancelWhenUp cancels the run that has made a file.
func (s *served) cancelWhenUp(up string) {
	eventually(s.t, "the run's trap", func() bool { return os.Remove(up) == nil })
	var runs struct{ Data []struct{ ID string } }
	if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs?state=live", "").body), &runs); err != nil || len(runs.Data) != 1 {
		s.t.Errorf("%v %+v", err, runs)
		return
	}
	s.ask("POST", "/v1/runs/"+runs.Data[0].ID+"/cancel", "")
}

// Whatever ends a run, its client and its record are told the same as without an image.
func TestInImage_EndsAsOnTheHost(t *testing.T) {
	var work string
	s, _ := inImage(t, func(c *config.Config, b *config.Backend) {
		lines := *b
		lines.Name, lines.Kind = "boxlines", "jsonl"
		c.Backends["boxlines"], work = lines, c.WorkspaceRoots[0]
	})
	for _, script := range []string{
		"echo hello", "exit 3", "exit 137", "echo text; kill -9 $$", "kill -SEGV $$", "kill -TERM $$", "sleep 99 & sleep 99 & echo done",
		"sleep 99 >/dev/null 2>&1 & exit 5", "exec cat /dev/zero",
		`trap 'exit 6' TERM; touch up; while :; do sleep 0.02; done`, `trap '' TERM; touch up; while :; do sleep 0.02; done`, "exec /no/such 2>/dev/null",
	} {
		var ends [2]ended
		var replies [2]result
		for _, pair := range [][2]string{{"sh", "box"}, {"lines", "boxlines"}} {
			for i, backend := range pair {
				cancelled := make(chan struct{})
				go func() {
					defer close(cancelled)
					if strings.HasPrefix(script, "trap") {
						s.cancelWhenUp(filepath.Join(work, "up"))
					}
				}()
				replies[i] = s.chat(backend, script, false, `,"cwd":"`+work+`"`)
				<-cancelled
				ends[i] = s.lastEnd()
				replies[i].text = strings.ReplaceAll(replies[i].text, "\x00", "")
			}
			if ends[0].Exit != nil && ends[1].Exit != nil && *ends[0].Exit == *ends[1].Exit {
				ends[1].Exit = ends[0].Exit
			}
			if diff := cmp.Diff(ends[0], ends[1]); diff != "" {
				t.Errorf("%s %q: on the host, in the image: %s", pair[0], script, diff)
			}
			if replies[0].status != replies[1].status || replies[0].text != replies[1].text || (replies[0].err == nil) != (replies[1].err == nil) {
				t.Errorf("%s %q: on the host %+v, in the image %+v", pair[0], script, replies[0], replies[1])
			}
		}
	}
}

// What keeps a run from its image refuses it: nothing is made, nothing is started, and never
// on the host.
func TestInImage_NothingStarted(t *testing.T) {
	mount := t.TempDir()
	s, _ := inImage(t, func(c *config.Config, b *config.Backend) {
		c.Images["later"] = config.Image{OCI: layoutOf(t) + ":v1", Home: "/home/agent"}
		for name, change := range map[string]func(*config.Backend){
			"later": func(b *config.Backend) { b.Image = "later" },
			"bare":  func(b *config.Backend) { b.Mounts = []config.Mount{{From: mount + "/gone", To: "/x", Mode: "ro"}} },
			"empty": func(b *config.Backend) { b.Command = []string{"nothing"} },
			"odd":   func(b *config.Backend) { b.Command = []string{"/etc/image"} },
			"over":  func(b *config.Backend) { b.Mounts = []config.Mount{{From: mount, To: "/etc/../etc", Mode: "ro"}} },
		} {
			one := *b
			one.Name = name
			change(&one)
			c.Backends[name] = one
		}
	})
	for backend, want := range map[string][2]string{
		"later": {"start_failed", "image later"}, "bare": {"start_failed", "mount /x"}, "over": {"start_failed", "it would cover /etc"},
		"empty": {"cli_missing", "not on PATH"}, "odd": {"cli_missing", "permission denied"},
	} {
		r := s.chat(backend, "touch "+mount+"/started", false, "")
		if r.status != 503 || r.err == nil || string(r.err.Code) != want[0] || !strings.Contains(r.err.Message, want[1]) {
			t.Errorf("%s: %d %+v", backend, r.status, r.err)
		}
		if strings.Contains(r.body, "/00") && strings.Contains(r.body, "rootfs") {
			t.Errorf("%s: it tells a path: %s", backend, r.body)
		}
	}
	if entries, err := os.ReadDir(mount); err != nil || len(entries) > 0 {
		t.Errorf("%v %v", err, entries)
	}
	if body := s.ask("GET", "/v1/runs", "").body; strings.Contains(body, "run_") {
		t.Errorf("a run is known: %s", body)
	}
	for _, dir := range []string{"runs", "store/status"} {
		if entries, err := os.ReadDir(filepath.Join(s.stateDir, dir)); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v %v", dir, err, entries)
		}
	}
	var model struct{ Ready bool }
	if err := json.Unmarshal([]byte(s.ask("GET", "/v1/models/later", "").body), &model); err != nil || model.Ready {
		t.Errorf("%v %+v", err, model)
	}
}

// While an image is unpacked its runs are refused, and told to come again.
func TestInImage_Unpacking(t *testing.T) {
	s, _ := inImage(t, func(c *config.Config, b *config.Backend) {
		b.Image = "later"
		c.Images["later"] = config.Image{OCI: layoutOf(t) + ":v1", Home: "/home/agent"}
	}, func(o *Options) { o.UnpackImage = []string{"/bin/sh", "-c", "sleep 99"} })
	r := s.chat("box", "echo x", false, "")
	if r.status != 503 || r.err == nil || r.err.Code != "start_failed" || !strings.Contains(r.err.Message, "being unpacked") || r.header.Get("Retry-After") != "5" {
		t.Errorf("%d %v %+v", r.status, r.header, r.err)
	}
}

// A host without bubblewrap serves all else.
func TestInImage_HostCannot(t *testing.T) {
	s, _ := inImage(t, func(*config.Config, *config.Backend) { t.Setenv("PATH", t.TempDir()) }, func(o *Options) {
		o.Process1 = func() (*os.File, []string, error) { f, err := os.Open("/bin/sh"); return f, nil, err }
	})
	r := s.chat("box", "echo x", false, "")
	if r.status != 503 || r.err == nil || r.err.Code != "start_failed" {
		t.Errorf("%d %+v", r.status, r.err)
	}
	if r := s.chat("sh", "echo x", false, ""); r.status != 200 {
		t.Errorf("%d %+v", r.status, r.err)
	}
}

// An image that no run can have is told of at the start, by what is wrong with it.
func TestInImage_NoPlaceForAFile(t *testing.T) {
	s, _ := inImage(t, func(c *config.Config, _ *config.Backend) {
		if err := os.Symlink("/dev/null", filepath.Join(c.Images["tiny"].Rootfs, "etc/resolv.conf")); err != nil {
			t.Fatal(err)
		}
	})
	const says = "image tiny: /etc/resolv.conf of the image leads to /dev/null"
	if !s.log.has(says) {
		t.Error("the log doesn't say " + says)
	}
	if r := s.chat("box", "echo x", false, ""); r.status != 503 || r.err == nil || !strings.Contains(r.err.Message, says) {
		t.Errorf("%d %+v", r.status, r.err)
	}
}

func TestInImage_RefusedAtTheStart(t *testing.T) {
	root := imagetest.Root(t)
	for want, change := range map[string]func(*config.Config, *config.Backend, *Options){
		`backends.box.image: "none": no such image (hint: penstock image add none ..., or [images.none]`: func(_ *config.Config, b *config.Backend, _ *Options) { b.Image = "none" },
		"backends.box.image: this program has no process 1":                                              func(_ *config.Config, _ *config.Backend, o *Options) { o.Process1 = nil },
		"backends.box.image: writable of image tiny is 8 GiB": func(c *config.Config, _ *config.Backend, _ *Options) {
			c.Images["tiny"] = config.Image{Rootfs: root, Home: "/home/agent", Writable: config.Size{Bytes: 8 << 30}}
		},
		"backends.box.mounts: /home: it would cover /home/agent": func(_ *config.Config, b *config.Backend, _ *Options) {
			b.Mounts = []config.Mount{{From: root, To: "/home"}}
		},
	} {
		c, o := testConfig(t), Options{Process1: imagetest.Process1}
		b := config.Backend{Name: "box", Kind: "exec", Command: []string{"sh"}, Configured: true, Image: "tiny", Limits: limitsOf()}
		c.Images = map[string]config.Image{"tiny": {Rootfs: root, Home: "/home/agent"}}
		change(&c, &b, &o)
		c.Backends["box"] = b
		if err := Run(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err := (DryRun{c}).Images(); (err == nil) != (o.Process1 == nil) {
			t.Errorf("the dry run says %v, want %s", err, want)
		}
	}
}

// A CLI whose home isn't kept would never find its session again.
func TestInImage_Sessions(t *testing.T) {
	s, _ := inImage(t, func(c *config.Config, b *config.Backend) {
		b.Kind = "jsonl"
		kept := *b
		kept.Name, kept.Home = "kept", "private"
		c.Backends["kept"] = kept
	})
	script := `echo "{\"session\":\"s1\",\"text\":\"$(cat ~/said 2>/dev/null)\"}"; printf before >~/said; echo '{"done":true}'`
	if r := s.chat("box", script, false, `,"session_id":"a"`); r.status != 400 || r.err == nil || !strings.Contains(r.err.Message, "backend box has no sessions") {
		t.Errorf("%d %+v", r.status, r.err)
	}
	for _, want := range []string{"", "before"} {
		if r := s.chat("kept", script, false, `,"session_id":"b"`); r.status != 200 || r.text != want {
			t.Errorf("%d %q, want %q: %+v", r.status, r.text, want, r.err)
		}
	}
}

// A CLI is asked for its version where its runs have it.
func TestInImage_Version(t *testing.T) {
	s, _ := inImage(t, func(c *config.Config, b *config.Backend) {
		root := c.Images["tiny"].Rootfs
		if err := os.WriteFile(filepath.Join(root, "bin/claude"), []byte("#!/bin/sh\ncat /etc/image >/dev/null && echo 2.1.100 of the image\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		b.Kind, b.Command = "claude", []string{"claude"}
	})
	eventually(t, "the version", func() bool {
		body := s.ask("GET", "/v1/models/box", "").body
		return strings.Contains(body, `"version":"2.1.100 of the image"`) && strings.Contains(body, `"too_old":true`)
	})
	eventually(t, "nothing left of it", func() bool {
		entries, err := os.ReadDir(filepath.Join(s.stateDir, "store/status"))
		return err == nil && len(entries) == 0
	})
}

// A CLI that has forgotten its session is started anew where it was: in its image.
func TestInImage_StartedAnew(t *testing.T) {
	s, _ := inImage(t, func(_ *config.Config, b *config.Backend) { b.Kind, b.Home = "jsonl", "private" })
	script := `[ -z "$AGENT_SESSION" ] || { echo '{"error":{"message":"which?","session_unknown":true}}'; exit 1; }; echo "{\"session\":\"s1\",\"text\":\"$(cat /etc/image)\"}"; echo '{"done":true}'`
	for range 2 {
		if r := s.chat("box", script, false, `,"session_id":"a"`); r.status != 200 || r.text != "inside" {
			t.Errorf("%d %q: %+v", r.status, r.text, r.err)
		}
	}
	if body := s.ask("GET", "/v1/runs?limit=1", "").body; !strings.Contains(body, `"session_restarted":true`) || !strings.Contains(body, `"image":{"name":"tiny"`) {
		t.Error(body)
	}
	eventually(t, "nothing left of it", func() bool { // an answer may be told before its run has ended
		entries, err := os.ReadDir(filepath.Join(s.stateDir, "store/status"))
		return err == nil && len(entries) == 0
	})
}

// Backends are those of the start: images that they can't have are not taken.
func TestInImage_Reload(t *testing.T) {
	images := make(chan []image.Source)
	s, root := inImage(t, func(_ *config.Config, b *config.Backend) {
		b.Mounts = []config.Mount{{From: t.TempDir(), To: "/srv/data", Mode: "rw"}}
	}, func(o *Options) { o.Images = images })
	home := func() string { return s.chat("box", `printf %s "$HOME"`, false, "").text }
	for _, row := range []struct {
		sources []image.Source
		home    string
		says    string
	}{
		{nil, "/home/agent", "no such image"},
		{[]image.Source{{Name: "other", Rootfs: root, Home: "/home/agent"}}, "/home/agent", "no such image"},
		{[]image.Source{{Name: "tiny", Rootfs: root, Home: "/srv/data/home"}}, "/home/agent", "it would cover /srv/data/home"},
		{[]image.Source{{Name: "tiny", Rootfs: root, Home: "/new"}}, "/new", ""},
		{[]image.Source{{Name: "tiny", Rootfs: root, Home: "/newer", Writable: 8 << 30}}, "/new", "more than memory_max"},
	} {
		images <- row.sources
		if row.says != "" {
			eventually(t, row.says, func() bool { return s.log.has(row.says) })
		}
		eventually(t, "home "+row.home, func() bool { return home() == row.home })
	}
}

// layoutOf is an image layout, tagged v1, of which nothing is unpacked.
func layoutOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name string, what any) []byte {
		text, err := json.Marshal(what)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	blob := func(kind string, what any) map[string]any {
		text := write("blob", what)
		sum := fmt.Sprintf("%x", sha256.Sum256(text))
		if err := os.Rename(filepath.Join(dir, "blob"), filepath.Join(dir, "blobs/sha256", sum)); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind + ".v1+json", "digest": "sha256:" + sum, "size": len(text)}
	}
	settings := blob("config", map[string]any{"os": "linux", "architecture": runtime.GOARCH, "rootfs": map[string]any{"type": "layers", "diff_ids": []any{}}})
	manifest := blob("manifest", map[string]any{"config": settings, "layers": []any{}})
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "v1"}
	write("oci-layout", map[string]any{"imageLayoutVersion": "1.0.0"})
	write("index.json", map[string]any{"manifests": []any{manifest}})
	return dir
}
