package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// reexecVariable has this test program put itself in its own place so many times.
const reexecVariable = "SPAWN_TEST_REEXEC"

// reexecAgain is the test program that is started so; in any other it returns.
func reexecAgain() {
	left := os.Getenv(reexecVariable)
	if left == "" {
		return
	}
	if left == "x" {
		fmt.Println("replaced")
		os.Exit(0)
	}
	// Descriptors over the runtime's own, and so long an environment that its copy begins collections.
	files := make([]*os.File, 12)
	for i := range files {
		files[i], _ = os.Open(os.DevNull)
	}
	env := []string{reexecVariable + "=" + left[1:], "GOGC=1"}
	for i := range 4000 {
		env = append(env, fmt.Sprintf("FILLER%d=%s", i, strings.Repeat("x", 200)))
	}
	fmt.Println(Reexec{Path: "/proc/self/exe", Argv: os.Args, Env: env, Files: files}.Exec())
	os.Exit(1)
}

// No collection begins between the descriptors' being passed and execve: the runtime's poller is not there.
func TestReexec_BeginsNoCollection(t *testing.T) {
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), reexecVariable+"="+strings.Repeat("i", 200)+"x", "GOGC=1")
	if out, err := c.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "replaced" {
		t.Errorf("%v: %.2000s", err, out)
	}
}
