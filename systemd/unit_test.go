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

// units are the system's, in a directory of their own. The daemon isn't
// installed where tests run.
func units(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
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
	files := units(t)
	out, _ := exec.Command(program, slices.Concat([]string{"verify", "--man=no"}, files)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// It looks at what the units ask for, too, which isn't ours.
		if strings.Contains(line, "penstock") && !strings.Contains(line, "DelegateSubgroup") {
			t.Errorf("verify: %s", line)
		}
	}
}

// The limit of the handbook's table, docs/systemd.md.
func TestUnit_Exposure(t *testing.T) {
	program := analyze(t)
	files := units(t)
	out, err := exec.Command(program, "security", "--offline=true", "--threshold=28", files[0]).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Errorf("exposure is over 2.8: %s", lines[len(lines)-1])
	}
}
