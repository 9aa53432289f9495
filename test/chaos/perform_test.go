package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"penstock/test/daemon"
)

// patience bounds one run, and each wait for a moment in it.
const patience = 2 * time.Minute

// attempt is one plan being carried out.
type attempt struct {
	*world
	plan
	client string
	ctx    context.Context
	leave  context.CancelFunc

	id     string // known beforehand where the plan is durable, else once it is seen
	answer *daemon.Answer
	err    error
	failed error // what went wrong outside the answer
}

// perform carries a plan out and waits for its end.
func (w *world) perform(p plan, client string) *attempt {
	if p.tidy != nil {
		defer p.tidy()
	}
	a := &attempt{world: w, plan: p, client: client}
	a.ctx, a.leave = context.WithTimeout(context.Background(), patience)
	defer a.leave()
	acted, req := make(chan error, 1), a.asRequest(a.ctx)
	go func() { acted <- a.interfere() }()
	a.answer, a.err = daemon.Read(req, nil)
	a.failed = <-acted
	if a.answer != nil && a.answer.Run != "" {
		a.id = a.answer.Run
	}
	return a
}

// asRequest may be called again: the same request attaches to a durable run.
func (a *attempt) asRequest(ctx context.Context) *http.Request {
	body := daemon.Body(a.backend, a.prompt, a.extra)
	body["metadata"] = map[string]any{"tag": a.tag}
	if a.stream {
		body["stream"] = true
		body["stream_options"] = map[string]any{"include_usage": true}
	}
	req := a.request(ctx, a.client, body)
	if a.durable {
		a.id = "chaos." + a.tag
		req.Header.Set("X-Run-Id", a.id)
	}
	return req
}

// interfere waits for the plan's moment and acts.
func (a *attempt) interfere() error {
	if a.act.do == nil {
		return nil
	}
	err := until(patience/2, func() error {
		if a.ctx.Err() != nil {
			return nil
		}
		return a.at(a.act.when)
	})
	if err == nil && a.ctx.Err() == nil {
		err = a.act.do(a)
	}
	if err != nil {
		a.leave()
		return fmt.Errorf("act on it: %w", err)
	}
	return nil
}

// at is nil when the moment has come.
func (a *attempt) at(m moment) error {
	switch m {
	case asleep, parent, refused:
		if a.id == "" {
			r, err := a.tagged(a.client, "running", a.tag)
			if err != nil {
				return err
			}
			a.id = r.ID
		}
		if m == refused && a.flat("runs/" + a.id + "/pids.events")["max"] == 0 {
			return errors.New("no process was refused yet")
		}
		_, err := a.sleeper(m == parent)
		return err
	case waiting:
		all, err := a.listed(a.client, "queued")
		if err != nil || len(all) != 1 {
			return fmt.Errorf("%d runs of %s queued: %w", len(all), a.client, err)
		}
		a.id = all[0].ID
	}
	return nil
}

// sleeper is the leader when it has become a sleep(1), or its child that is one.
func (a *attempt) sleeper(child bool) (int, error) {
	leader, err := a.leader(a.id)
	if err != nil {
		return 0, err
	}
	if !child {
		if leader.name != "sleep" {
			return 0, fmt.Errorf("the leader is %s", leader.name)
		}
		return leader.pid, nil
	}
	for _, pid := range a.pids(a.id) {
		if p, err := look(pid); err == nil && p.parent == leader.pid && p.name == "sleep" {
			return p.pid, nil
		}
	}
	return 0, errors.New("the leader has no sleeping child")
}

func leave(a *attempt) error { a.leave(); return nil }

// leaveSoon may come before the run was born, at its birth, or after.
func leaveSoon(r *rand.Rand) func(*attempt) error {
	after := time.Duration(r.Int64N(int64(80 * time.Millisecond)))
	return func(a *attempt) error {
		time.Sleep(after)
		a.leave()
		return nil
	}
}

func killLeader(a *attempt) error {
	pid, err := a.sleeper(false)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// killAll takes the leader last: no child's death may be its to report.
func killAll(a *attempt) error {
	leader, err := a.sleeper(false)
	if err != nil {
		return err
	}
	for _, pid := range a.pids(a.id) {
		if pid != leader {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have died with its parent
		}
	}
	if err = syscall.Kill(leader, syscall.SIGKILL); a.isBoxed() && errors.Is(err, syscall.ESRCH) {
		return nil // it has died with process 1
	}
	return err
}

// killGroup is another administrator's tool.
func killGroup(a *attempt) error {
	return os.WriteFile(filepath.Join(a.root, "runs", a.id, "cgroup.kill"), []byte("1"), 0)
}

func killChild(a *attempt) error {
	pid, err := a.sleeper(true)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// detach leaves a durable run and, when the daemon has seen that, lets it end
// while nothing listens.
func detach(a *attempt) error {
	pid, err := a.sleeper(true)
	if err != nil {
		return err
	}
	a.leave()
	return syscall.Kill(pid, syscall.SIGKILL)
}

// cancel asks until there is something to cancel.
func cancel(a *attempt) error {
	return until(patience/2, func() error {
		if a.ctx.Err() != nil {
			return nil
		}
		status, err := a.ask("POST", "/v1/runs/"+a.id+"/cancel", a.client, nil)
		if err == nil && status != http.StatusAccepted {
			err = fmt.Errorf("cancel %q: status %d", a.id, status)
		}
		return err
	})
}

// holder is a plan that keeps its client's only slot until it is let go.
func holder(r *rand.Rand, tag string) plan {
	return plan{name: "holder", tag: tag, backend: "sh", prompt: hold(r), stream: true, want: end{cause: "cancelled", signal: "SIGKILL", text: exactly("ready\n")}}
}

// performQueued carries a plan out behind a holder.
func (w *world) performQueued(r *rand.Rand, p plan, client string) (front, back *attempt) {
	h := holder(r, p.tag+"-holder")
	held, release := make(chan *attempt), make(chan struct{})
	running := make(chan struct{})
	h.act = act{asleep, func(a *attempt) error {
		close(running)
		<-release
		return cancel(a)
	}}
	go func() { held <- w.perform(h, client) }()
	select {
	case <-running:
		back = w.perform(p, client)
		close(release)
		return <-held, back
	case front = <-held: // it could not be started: its own verdict tells
		return front, nil
	}
}

// again attaches to a durable run.
func (a *attempt) again() {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	a.answer, a.err = daemon.Read(a.asRequest(ctx), nil)
}

// limit is what the plan asks for.
func (p plan) limit(name string) (int, bool) {
	l, _ := p.extra["limits"].(map[string]any)
	n, ok := l[name].(int)
	return n, ok
}
