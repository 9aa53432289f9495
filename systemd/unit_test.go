package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit reads a unit file; of a key that is there several times the first.
func unit(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if _, there := set[key]; ok && !there && !strings.HasPrefix(line, "#") {
			set[key] = v
		}
	}
	return set
}

func TestUnit_CageWhole(t *testing.T) {
	set := unit(t, "penstock.service")
	for key, want := range map[string]string{
		"Type": "notify", "Delegate": "cpu memory pids io", "DelegateSubgroup": "daemon", "OOMPolicy": "continue",
		"KillMode": "mixed", "BindPaths": "-/var/cache/penstock/%b:/tmp", "TasksMax": "infinity", "MemorySwapMax": "0", "NotifyAccess": "main",
		"Slice": "penstock.slice", "Sockets": "penstock.socket", "ExecReload": "/usr/bin/penstock config --check",
	} {
		if set[key] != want {
			t.Errorf("%s=%s, want %s", key, set[key], want)
		}
	}
	for _, key := range []string{"RestrictNamespaces", "ProtectControlGroups", "MemoryDenyWriteExecute", "ProtectProc", "ProcSubset", "PrivateUsers"} {
		if v, there := set[key]; there {
			t.Errorf("%s=%s breaks the cage or the agents", key, v)
		}
	}
}

// A socket with a life of its own would start the service that an operator has
// just stopped, and one that the service doesn't ask for would hold nothing.
func TestUnit_SocketLifetime(t *testing.T) {
	socket := unit(t, "penstock.socket")
	if _, there := socket["WantedBy"]; there || socket["StopWhenUnneeded"] != "yes" {
		t.Errorf("%v", socket)
	}
	if slice := unit(t, "penstock.slice"); slice["MemoryMax"] == "" || slice["MemoryHigh"] == "" {
		t.Errorf("%v", slice)
	}
}

// units are the system's, in a directory of their own, with drop-ins of the service. The
// daemon isn't installed where tests run.
func units(t *testing.T, dropIns ...string) []string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range dropIns {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, "penstock.service.d"), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "penstock.service.d", file), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	for _, file := range []string{"penstock.service", "penstock.socket", "penstock.slice", "penstock-reap.service"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "/usr/bin/penstock", "/bin/true")
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, path)
	}
	return files
}

func analyze(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	return program
}

func TestUnit_SystemdVerifies(t *testing.T) {
	program := analyze(t)
	for _, dropIns := range [][]string{nil, {"account.conf"}, {"root.conf"}, {"image.conf"}, {"account.conf", "image.conf"}, {"image.conf", "root.conf"}} {
		files := units(t, dropIns...)
		out, _ := exec.Command(program, slices.Concat([]string{"verify", "--man=no"}, files)...).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// It looks at what the units ask for, too, which isn't ours.
			if strings.Contains(line, "penstock") && !strings.Contains(line, "DelegateSubgroup") {
				t.Errorf("%s: verify: %s", dropIns, line)
			}
		}
	}
}

// The limits of the handbook's tables, docs/systemd.md.
func TestUnit_Exposure(t *testing.T) {
	program := analyze(t)
	for _, c := range []struct {
		dropIns   []string
		threshold string
	}{{nil, "28"}, {[]string{"image.conf"}, "29"}, {[]string{"account.conf", "image.conf"}, "31"}} {
		out, err := exec.Command(program, "security", "--offline=true", "--threshold="+c.threshold, units(t, c.dropIns...)[0]).CombinedOutput()
		if err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Errorf("%s: exposure is over %s tenths: %s", c.dropIns, c.threshold, lines[len(lines)-1])
		}
	}
}

// What spawn's Runtime names where it is missing, and what it can't do without.
func TestUnit_Image(t *testing.T) {
	image, err := os.ReadFile("image.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"SystemCallFilter=@mount sethostname", "ProtectHostname=no", "RestrictSUIDSGID=no", "BindPaths=/proc:/run/penstock.proc:norbind"} {
		if !strings.Contains(string(image), "\n"+line+"\n") {
			t.Errorf("image.conf has no %s", line)
		}
	}
	if caps := unit(t, "root.conf")["CapabilityBoundingSet"]; !slices.Contains(strings.Fields(caps), "CAP_NET_ADMIN") {
		t.Errorf("root.conf: %s: a run without a network needs CAP_NET_ADMIN", caps)
	}
}
