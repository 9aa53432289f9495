package spawn

import (
	"context"
	"errors"

	"penstock/cgroup"
)

// Placeholder bodies of the contract; the owner of this package deletes this file.
var errStub = errors.New("stub")

type Spawner struct{}
type Process struct{}

// StartError is why nothing was started; Cause is cli_missing, memory_limit,
// pids_limit, cli_error or shutting_down.
type StartError struct {
	Cause Cause
	Err   error
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

func Open(ctx context.Context, o Options) (*Spawner, error)               { return nil, errStub }
func (s *Spawner) Start(ctx context.Context, c Command) (*Process, error) { return nil, errStub }
func (s *Spawner) Isolation() Isolation                                   { return Isolation{} }
func (s *Spawner) Enforced() cgroup.Enforced                              { return cgroup.Enforced{} }
func (s *Spawner) Usage() (cgroup.Usage, error)                           { return cgroup.Usage{}, errStub }
func (s *Spawner) Close(ctx context.Context) error                        { return errStub }
func (p *Process) PID() int                                               { return 0 }
func (p *Process) End(why Cause)                                          {}
func (p *Process) Exited() <-chan struct{}                                { return nil }
func (p *Process) Ended() <-chan struct{}                                 { return nil }
func (p *Process) Gone() <-chan struct{}                                  { return nil }
func (p *Process) Outcome() Outcome                                       { return Outcome{} }
func (p *Process) Usage() (cgroup.Usage, error)                           { return cgroup.Usage{}, errStub }
func Decide(f Facts) Verdict                                              { return Verdict{} }
