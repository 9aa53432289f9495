package spawn

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/sandbox"
)

func TestStartError_Exec(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/no/such/interpreter\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program, plain := file("program", 0o755), file("plain", 0o644)
	tests := []struct {
		name    string
		program string
		dir     string
		user    *syscall.Credential
		receipt cgroup.Receipt
		err     error
		want    outcome.Cause
		says    string
	}{
		{"program missing", dir + "/no", "", nil, cgroup.Receipt{}, syscall.ENOENT, outcome.CLIMissing, dir + "/no: program not found"},
		{"path through a file", program + "/x", "", nil, cgroup.Receipt{}, syscall.ENOTDIR, outcome.CLIMissing, "program not found"},
		{"interpreter missing", program, "", nil, cgroup.Receipt{}, syscall.ENOENT, outcome.CLIMissing, "interpreter"},
		{"directory missing", program, dir + "/gone", nil, cgroup.Receipt{}, syscall.ENOENT, outcome.CLIMissing, dir + "/gone: working directory does not exist"},
		{"directory is a file", program, plain, nil, cgroup.Receipt{}, syscall.ENOTDIR, outcome.CLIMissing, "working directory is not a directory"},
		{"not executable", plain, dir, nil, cgroup.Receipt{}, syscall.EACCES, outcome.CLIMissing, plain + ": not executable"},
		{"a directory", dir, "", nil, cgroup.Receipt{}, syscall.EACCES, outcome.CLIMissing, dir + ": is a directory"},
		{"not for this user", program, dir, &syscall.Credential{Uid: 77}, cgroup.Receipt{}, syscall.EACCES, outcome.CLIMissing, "uid 77"},
		{"noexec", program, dir, nil, cgroup.Receipt{}, syscall.EACCES, outcome.CLIMissing, "noexec"},
		{"wrong format", program, "", nil, cgroup.Receipt{}, syscall.ENOEXEC, outcome.CLIMissing, "#! line"},
		{"pids limit", program, "", nil, cgroup.Receipt{PidsRefused: num(1), PidsMax: num(2)}, syscall.EAGAIN, outcome.PidsLimit, "pids limit of 2"},
		{"host task limit", program, "", nil, cgroup.Receipt{PidsRefused: num(0)}, syscall.EAGAIN, outcome.StartFailed, "TasksMax"},
		{"memory limit as E2BIG", program, "", nil, cgroup.Receipt{OOMEvents: num(1), MemoryMaxBytes: num(1 << 20)}, syscall.E2BIG, outcome.MemoryLimit, "memory limit of 1 MiB"},
		{"memory limit as ENOMEM", program, "", nil, cgroup.Receipt{OOMEvents: num(1)}, syscall.ENOMEM, outcome.MemoryLimit, "memory limit"},
		{"arguments too long", program, "", nil, cgroup.Receipt{OOMEvents: num(0)}, syscall.E2BIG, outcome.CLIError, "arguments"},
		{"host out of memory", program, "", nil, cgroup.Receipt{}, syscall.ENOMEM, outcome.StartFailed, "host is out of memory"},
		{"clone3 blocked", program, "", nil, cgroup.Receipt{}, syscall.ENOSYS, outcome.StartFailed, "RestrictNamespaces"},
		{"user refused", program, "", &syscall.Credential{Uid: 77}, cgroup.Receipt{}, syscall.EPERM, outcome.StartFailed, "uid 77"},
		{"no sandbox", program, "", nil, cgroup.Receipt{}, sandbox.ErrSandbox, outcome.StartFailed, "its sandbox"},
		{"anything else", program, "", nil, cgroup.Receipt{}, syscall.ETXTBSY, outcome.StartFailed, "text file busy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := Command{ID: "run_1", Argv: []string{tt.program}, Dir: tt.dir, User: tt.user}
			got := execFailed(c, tt.receipt, &os.PathError{Op: "fork/exec", Path: tt.program, Err: tt.err})
			if got.Cause != tt.want || !strings.Contains(got.Error(), tt.says) {
				t.Errorf("%q %q, want %q with %q", got.Cause, got, tt.want, tt.says)
			}
			if !errors.Is(got, tt.err) {
				t.Errorf("%q does not wrap %v", got, tt.err)
			}
		})
	}
}

func TestStartError_NotStarted(t *testing.T) {
	for err, want := range map[error]outcome.Cause{
		sandbox.ErrClosed: outcome.ShuttingDown, context.Canceled: outcome.Cancelled,
		context.DeadlineExceeded: outcome.Timeout, errors.New("client left"): outcome.Cancelled,
	} {
		if got := notStarted("run_1", err); got.Cause != want || !errors.Is(got, err) {
			t.Errorf("%v: %q %q, want %q", err, got.Cause, got, want)
		}
	}
}
