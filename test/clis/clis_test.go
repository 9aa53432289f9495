package clis

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestCommandsSayWhatIsMissing(t *testing.T) {
	if _, err := Commands(t.TempDir()); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("Commands of an empty directory: %v, want ErrNotInstalled", err)
	}
}

func TestCommandsFindInstalled(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("no node_modules: the CLIs are not installed here, run test/clis/install")
	}
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	commands, err := Commands(dir)
	if err != nil || len(commands) != 6 {
		t.Fatalf("Commands = %v, %v, want six", commands, err)
	}
	for name, argv := range commands {
		if info, err := os.Stat(argv[0]); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %s cannot be executed: %v", name, argv[0], err)
		}
	}
}

func TestSeedWritesReadableConfigs(t *testing.T) {
	const url = "http://127.0.0.1:9"
	home := t.TempDir()
	if err := Seed(home, url); err != nil {
		t.Fatal(err)
	}
	parse := map[string]func([]byte, any) error{".json": json.Unmarshal, ".toml": toml.Unmarshal}
	for _, name := range []string{
		".codex/config.toml", ".config/opencode/opencode.json", ".gemini/settings.json",
		".pi/agent/models.json", ".pi/agent/settings.json", ".kimi-code/config.toml",
	} {
		raw, err := os.ReadFile(filepath.Join(home, name))
		if err != nil {
			t.Error(err)
			continue
		}
		var v map[string]any
		if err := parse[filepath.Ext(name)](raw, &v); err != nil || len(v) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(name, "settings") && !strings.Contains(string(raw), url+"/v1") {
			t.Errorf("%s does not name the model server:\n%s", name, raw)
		}
	}
}

func TestSeedRetryingLeavesRetriesOn(t *testing.T) {
	for _, retrying := range []bool{false, true} {
		home := t.TempDir()
		if err := seed(home, "http://127.0.0.1:9", retrying); err != nil {
			t.Fatal(err)
		}
		for name, knob := range map[string]string{
			".codex/config.toml": "stream_max_retries = 0", ".gemini/settings.json": `"maxAttempts": 1`,
			".pi/agent/settings.json": `"enabled":false`,
		} {
			raw, err := os.ReadFile(filepath.Join(home, name))
			if err != nil {
				t.Fatal(err)
			}
			if off := strings.Contains(string(raw), knob); off == retrying {
				t.Errorf("retrying %t: %s has %q: %t", retrying, name, knob, off)
			}
		}
	}
}

// A lock made through a mirror must not tie others to that mirror, and a range
// would let the CLIs change under the recorded outputs.
func TestLockIsPinnedAndBoundToNoRegistry(t *testing.T) {
	exact := regexp.MustCompile(`^\d+\.\d+\.\d+$`)
	for _, dir := range []string{".", "../sdk"} {
		lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(lock), `"resolved"`) {
			t.Errorf("%s: package-lock.json has resolved addresses: omit-lockfile-registry-resolved is off", dir)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err != nil {
			t.Fatal(err)
		}
		var pkg struct{ Dependencies map[string]string }
		if err := json.Unmarshal(raw, &pkg); err != nil {
			t.Fatal(err)
		}
		for name, version := range pkg.Dependencies {
			if !exact.MatchString(version) {
				t.Errorf("%s: %s is at %q, not at an exact version", dir, name, version)
			}
		}
	}
}
