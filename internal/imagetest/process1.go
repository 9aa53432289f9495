package imagetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"penstock/sandbox/pid1"
)

const play = "play-process1"

// IsProcess1 tells a TestMain that the test binary is to be process 1: it exits with Main's.
func IsProcess1() bool { return len(os.Args) == 2 && os.Args[1] == play }

// Main is process 1.
func Main() int { return pid1.Main() }

// built is a program that calls Main, made once for all tests of a package.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "penstock-pid1-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	c := exec.Command("go", "build", "-o", filepath.Join(dir, "pid1"), "penstock/cmd/process1")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "pid1"), os.Chmod(dir, 0o755)
})

var builtDir string

// Clean is for the end of a TestMain.
func Clean() {
	if builtDir != "" {
		_ = os.RemoveAll(builtDir)
	}
}

// Process1 is a program that calls Main, with its arguments: the test binary itself where it
// is static, as in the lab, which has no compiler.
func Process1() (program *os.File, args []string, err error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil || isStatic("/proc/self/exe") {
		return self, []string{play}, err
	}
	self.Close()
	path, err := Built()
	if err != nil {
		return nil, nil, err
	}
	program, err = os.Open(path)
	return program, nil, err
}

// BuiltVariable names a program that Built has made for a test that is executed as another user.
const BuiltVariable = "PENSTOCK_TEST_PROCESS1"

// Built is the path of such a program where the test binary is none.
func Built() (string, error) {
	if path := os.Getenv(BuiltVariable); path != "" {
		return path, nil
	}
	return built()
}
