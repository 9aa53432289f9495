package anchor

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// handler runs a program for each request: its body is stdin, stdout the reply.
type handler struct {
	argv   []string
	groups string // the directory of all runs' groups
	last   atomic.Int64
}

func naive(argv []string) error {
	base, err := Group("naive")
	if err != nil {
		return err
	}
	if err := os.Mkdir(base, 0o755); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		_ = Sweep(os.Getpid())
		os.Exit(0)
	}()
	mux := http.NewServeMux()
	mux.Handle("POST /run", &handler{argv: argv, groups: base})
	return serve(mux)
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	input, err := io.ReadAll(r.Body)
	var output []byte
	if err == nil {
		output, err = h.run(input)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(output)
}

func (h *handler) run(input []byte) ([]byte, error) {
	group := filepath.Join(h.groups, strconv.FormatInt(h.last.Add(1), 10))
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	var output bytes.Buffer
	cmd := exec.Command(h.argv[0], h.argv[1:]...)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(input), &output
	leave, err := bornIn(cmd, group)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err = cmd.Run(); err == nil {
		err = kill(group)
	}
	if err != nil {
		return nil, err
	}
	return output.Bytes(), remove(group)
}

// bornIn lets a command be created inside a group, as a session of its own.
func bornIn(cmd *exec.Cmd, group string) (leave func() error, err error) {
	dir, err := os.Open(group)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return dir.Close, nil
}

// Sweep ends what is left in the groups that a process of this program made, and
// removes them.
func Sweep(pid int) error {
	all, err := Group("*")
	if err != nil {
		return err
	}
	bases, err := filepath.Glob(strings.TrimSuffix(all, strconv.Itoa(os.Getpid())) + strconv.Itoa(pid))
	for _, base := range bases {
		err = errors.Join(err, kill(base))
		for isPopulated(base) {
			time.Sleep(time.Millisecond)
		}
		runs, _ := filepath.Glob(filepath.Join(base, "*", "cgroup.procs"))
		for _, run := range runs {
			err = errors.Join(err, remove(filepath.Dir(run)))
		}
		err = errors.Join(err, remove(base))
	}
	return err
}

func kill(group string) error {
	return os.WriteFile(filepath.Join(group, "cgroup.kill"), []byte("1"), 0)
}

// remove tries again while the kernel still counts a process that has ended.
func remove(group string) (err error) {
	for range 5000 {
		if err = syscall.Rmdir(group); err != syscall.EBUSY {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
	return err
}
