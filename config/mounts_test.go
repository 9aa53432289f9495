package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inImage is a configuration with a backend of text in an image.
func inImage(root, text string) string {
	return "[images.a]\nrootfs = \"" + root + "\"\n[backends.claude]\nimage = \"a\"\n" + text
}

func TestMounts(t *testing.T) {
	s, root, _ := imagesScene(t)
	c, err := s.load(t, inImage(root, `
network = "host"
mounts = [
  { from = "~/bin", to = "/home/agent/.claude", mode = "rw" },
  { from = "~/tokens", to = "/etc/tokens" },
]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{{s.dir + "/bin", "/home/agent/.claude", "rw"}, {s.dir + "/tokens", "/etc/tokens", "ro"}}
	b := c.Backends["claude"]
	if diff := cmp.Diff(want, b.Mounts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if b.Missing != "" || b.Command[0] != "claude" || b.NoNetwork() || !b.KeepsSessions("/home/agent") || b.KeepsSessions("/root") {
		t.Errorf("%+v", b)
	}
	var dumped strings.Builder
	if err := c.Dump(&dumped); err != nil {
		t.Fatal(err)
	}
	again, err := s.load(t, dumped.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, &dumped)
	}
	if diff := cmp.Diff(b.Mounts, again.Backends["claude"].Mounts); diff != "" {
		t.Errorf("the dump: -want +got:\n%s", diff)
	}
	if changed := Changed(c, again); len(changed) > 0 {
		t.Errorf("changed: %q", changed)
	}
	s.sources.Environ = append(s.sources.Environ, "PENSTOCK_BACKENDS_CLAUDE_MOUNTS="+s.dir+"/bin:/x:rw, "+s.dir+"/tokens:/y")
	if c, err = s.load(t, inImage(root, "")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Mount{{s.dir + "/bin", "/x", "rw"}, {s.dir + "/tokens", "/y", "ro"}}, c.Backends["claude"].Mounts); diff != "" {
		t.Errorf("environment: -want +got:\n%s", diff)
	}
}

func TestMounts_Bad(t *testing.T) {
	s, root, _ := imagesScene(t)
	for _, dir := range []string{"state/runs", "state/.claude"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	mount := func(from, to, mode string) string {
		return `mounts = [ { from = "` + from + `", to = "` + to + `", mode = "` + mode + `" } ]`
	}
	for text, want := range map[string]string{
		mount("~/bin", "/x", "wr"):                                       `backends.claude.mounts: mode "wr" is not known (hint: rw or ro)`,
		mount("~/none", "/x", "ro"):                                      "none: no such file or directory",
		mount("bin", "/x", "ro"):                                         `"bin" is not absolute`,
		mount("~/bin", "x", "ro"):                                        `"x" is not absolute (hint: write an absolute path, inside the image)`,
		mount("~/bin", "/x/", "ro"):                                      "is not clean (hint: write /x)",
		mount("~/bin", "/", "ro"):                                        "it would cover the whole image",
		mount("~/bin", "/usr", "ro"):                                     "/usr: it would cover /usr",
		mount("~/bin", "/proc/x", "ro"):                                  "nothing can be mounted in /proc",
		mount("~/bin", "/dev", "ro"):                                     "it would cover /dev",
		mount("~/bin", "/home", "ro"):                                    "/home: it would cover /home/agent",
		mount("~/bin", "/var", "ro"):                                     "it would cover /var/tmp",
		mount("~/tokens", "/x", "rw"):                                    "a single file can only be read",
		mount("~", "/x", "ro"):                                           "which is the daemon's, lies in it",
		mount("~/state", "/x", "ro"):                                     "which is the daemon's, lies in it",
		mount("~/state/runs", "/x", "ro"):                                "it is the daemon's own",
		mount("/proc/sys", "/x", "ro"):                                   "nothing of the host's /proc can be mounted",
		mount("/sys", "/x", "rw"):                                        "nothing of the host's /sys can be mounted",
		mount("/", "/x", "ro"):                                           "which is the daemon's, lies in it",
		`mounts = [ { from = "~/bin", at = "/x" } ]`:                     "unknown key at (hint: a mount is written {",
		`mounts = "~/bin:/x"`:                                            "want a list of tables such as {",
		`mounts = [ "~/bin:/x" ]`:                                        "element 1: want {",
		"[[backends.claude.mounts]]\nfrom = \"~/bin\"":                   "is not a list of tables (hint: write mounts = [ {",
		`network = "none"`:                                               "backends.claude.network: claude can't work without its model",
		`network = "bridge"`:                                             `"bridge" is not known (hint: one of host, none)`,
		`home = "~/state"`:                                               "backends.claude.home: in an image: ",
		`cwd = "/usr"`:                                                   "backends.claude.cwd: in an image: /usr: it would cover /usr",
		`command = "~/bin/claude"`:                                       "inside the image",
		"command = \"/opt/cli/claude\"\n" + mount("~/bin", "/opt", "ro"): "it would cover the program's own directory /opt/cli",
		"command = \"/srv/cli/bin/x\"\ncwd = \"/srv\"":                   "/srv: it would cover the program's own directory /srv/cli/bin",
		"home = \"~/bin\"\n" + mount("~/bin", "/home/agent", "rw"):       "it is the image's home, which home =",
		`mounts = [ { from = "~/bin", to = "/x", mode = "ro" }, { from = "~/bin", to = "/x", mode = "ro" } ]`:                                                "two mounts go there",
		`mounts = [ { from = "~/bin", to = "/x", mode = "ro" }, { from = "~/bin", to = "/x/y", mode = "rw" } ]`:                                              "it lies in the mount /x, which is read-only",
		"home = \"~/bin\"\n" + `mounts = [ { from = "~/bin", to = "/home/agent/x", mode = "rw" }, { from = "~/bin", to = "/home/agent/x/y", mode = "rw" } ]`: "/home/agent/x/y: it lies in a mount that lies in another: /home/agent, /home/agent/x",
		"[backends.demo]\nimage = \"a\"":                                     "backends.demo.image: demo is the daemon's own program",
		"[backends.codex]\n" + mount("~/bin", "/x", "ro"):                    "backends.codex.mounts: a run without an image has the host's (hint: write image = \"NAME\")",
		"[backends.x]\nkind = \"exec\"\ncommand = \"c\"\nnetwork = \"none\"": "backends.x.network: a run without an image has the host's",
	} {
		_, err := s.load(t, "state_dir = \"~/state\"\n"+inImage(root, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got %v\nwant %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		inImage(root, "[backends.claude.limits]\nmemory_max = \"64MiB\"\n[images.b]\nrootfs = \"R\"\n"):                                       "",
		"[images.a]\nrootfs = \"R\"\nwritable = \"1GiB\"\n[backends.claude]\nimage = \"a\"\n[backends.claude.limits]\nmemory_max = \"64MiB\"": "backends.claude.image: writable of image a is 1 GiB, more than memory_max of 64 MiB",
		"[images.a]\nrootfs = \"R\"\nhome = \"/srv/x\"\n[backends.claude]\nimage = \"a\"\n" + mount("~/bin", "/srv", "rw"):                    "/srv: it would cover /srv/x",
		inImage(root, mount("~/state/.claude", "/home/agent/.claude", "rw")):                                                                  "",
		inImage(root, "command = \"/opt/cli/codex\"\n"+mount("~/bin", "/opt/cli", "ro")):                                                      "",
		"[backends.x]\nkind = \"exec\"\ncommand = \"c\"\nimage = \"a\"\nnetwork = \"none\"\n":                                                 "",
	} {
		_, err := s.load(t, "state_dir = \"~/state\"\n"+strings.ReplaceAll(text, `"R"`, `"`+root+`"`))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s\n got %v\nwant %q", text, err, want)
		}
	}
}
