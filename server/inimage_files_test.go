package server

import (
	"os"
	"path/filepath"
	"testing"

	"penstock/config"
)

// No way of writing leaves a trace in the image, which several runs have at once.
func TestInImage_NotWritten(t *testing.T) {
	s, _ := inImage(t, nil)
	for _, way := range []string{
		"echo x >/bin/new", "echo x >/etc/image", "echo x >>/etc/image", "rm /etc/image", "mv /etc/image /etc/moved", "ln /etc/image /etc/hard", "ln -s x /etc/soft", "mkdir /etc/dir",
		"mkfifo /etc/fifo", "chmod 777 /etc/image", "chown 1:1 /etc/image", "touch /etc/image", "touch -d 2001-01-01 /bin", "truncate -s 0 /etc/image", "rmdir /tmp/../etc/empty",
		"mount -o remount,rw /etc", "mount -o remount,rw,bind /bin", "echo x >/proc/1/root/etc/new", "echo x >/proc/self/cwd/../../etc/new", "cd /bin && echo x >new",
	} {
		if r := s.chat("box", "("+way+") 2>/dev/null; echo done", false, ""); r.text != "done\n" {
			t.Errorf("%s: %d %q %+v", way, r.status, r.text, r.err)
		}
	}
}

// What of the host a run sees.
func TestInImage_OfTheHost(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"work", "shared", "kept"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ca.pem", "secret", "one"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("of "+name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("ca.pem", filepath.Join(dir, "linked.pem")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NODE_EXTRA_CA_CERTS", filepath.Join(dir, "ca.pem"))
	t.Setenv("CURL_CA_BUNDLE", filepath.Join(dir, "linked.pem"))
	t.Setenv("SSL_CERT_FILE", "/no/such")
	t.Setenv("SSL_CERT_DIR", "")
	t.Setenv("OF_THE_DAEMON", "secret")
	s, root := inImage(t, func(c *config.Config, b *config.Backend) {
		c.WorkspaceRoots = []string{filepath.Join(dir, "work")}
		b.Home = filepath.Join(dir, "kept")
		b.SetEnv = map[string]string{"MINE": "yes"}
		b.Mounts = []config.Mount{{From: filepath.Join(dir, "shared"), To: "/home/agent/.cli", Mode: "rw"}, {From: filepath.Join(dir, "one"), To: "/etc/one", Mode: "ro"}}
	})
	r := s.chat("box", `cat $NODE_EXTRA_CA_CERTS $CURL_CA_BUNDLE /etc/one; for f in $NODE_EXTRA_CA_CERTS /etc/one /etc/image; do (echo x >$f) 2>/dev/null && echo WROTE $f; done
		touch ~/.cli/new ~/new; echo $MINE $OF_THE_DAEMON $SHELL $HOME; ls `+dir+`; ls -d `+root+` /root /var/lib 2>/dev/null; cat /sys/fs/cgroup/memory.high; ls $TMPDIR/../../ | wc -l; grep :/home/agent: /etc/passwd | wc -l; pwd`,
		false, `,"cwd":"`+filepath.Join(dir, "work")+`"`)
	want := "of ca.pem\nof ca.pem\nof one\nyes /home/agent\nca.pem\nlinked.pem\nwork\n4294967296\n1\n1\n" + filepath.Join(dir, "work") + "\n"
	if r.text != want {
		t.Errorf("%q, want %q: %+v", r.text, want, r.err)
	}
	for _, name := range []string{"shared/new", "kept/new", "kept/.cli"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, cwd := range []string{"/usr", "/", "/home", "/tmp"} {
		r := s.chat("box", "echo x", false, `,"cwd":"`+cwd+`"`)
		if r.status != 400 && r.status != 403 {
			t.Errorf("%s: %d %+v", cwd, r.status, r.err)
		}
	}
}

// A worktree has its repository, where clients may work there; a file that a run has written
// leads to none.
func TestInImage_Worktree(t *testing.T) {
	dir := t.TempDir()
	repository := func(name string) string {
		common, own := filepath.Join(dir, name, ".git"), filepath.Join(dir, name, ".git/worktrees/tree")
		if err := os.MkdirAll(own, 0o755); err != nil {
			t.Fatal(err)
		}
		tree := filepath.Join(dir, "in", name+"-tree")
		if err := os.MkdirAll(tree, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{
			common + "/HEAD": "of " + name + "\n", own + "/commondir": "../..\n", own + "/gitdir": tree + "/.git\n", tree + "/.git": "gitdir: " + own + "\n",
		} {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return tree
	}
	inside, outside := repository("in/repo"), repository("out/repo")
	forged := filepath.Join(dir, "in/forged")
	if err := os.Mkdir(forged, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(forged+"/.git", []byte("gitdir: "+filepath.Join(dir, "in/repo/.git/worktrees/tree")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, _ := inImage(t, func(c *config.Config, _ *config.Backend) { c.WorkspaceRoots = []string{filepath.Join(dir, "in")} })
	for cwd, want := range map[string]string{inside: "of in/repo\nrw\n", outside: "none\n", forged: "none\n"} {
		r := s.chat("box", `own=$(cat .git); common=${own#gitdir: }/../..; cat $common/HEAD 2>/dev/null || echo none; (touch $common/index) 2>/dev/null && echo rw; true`, false, `,"cwd":"`+cwd+`"`)
		if r.text != want {
			t.Errorf("%s: %q, want %q: %+v", cwd, r.text, want, r.err)
		}
	}
}
