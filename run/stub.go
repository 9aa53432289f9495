package run

import (
	"context"
	"errors"

	"penstock/backend"
	"penstock/spawn"
)

// Placeholder bodies of the contract; the owner of this package deletes this file.
var errStub = errors.New("stub")

type Manager struct{}
type Run struct{}
type Reader struct{}

func Open(ctx context.Context, o Options) (*Manager, error)        { return nil, errStub }
func (m *Manager) Start(ctx context.Context, s Spec) (*Run, error) { return nil, errStub }
func (m *Manager) Get(id string) (*Run, bool)                      { return nil, false }
func (m *Manager) List(f Filter) []Record                          { return nil }
func (m *Manager) Snapshot() Snapshot                              { return Snapshot{} }
func (m *Manager) Isolation() spawn.Isolation                      { return spawn.Isolation{} }
func (m *Manager) End(ctx context.Context, why spawn.Cause) error  { return errStub }
func (m *Manager) Close(ctx context.Context) error                 { return errStub }
func (r *Run) ID() string                                          { return "" }
func (r *Run) Record() Record                                      { return Record{} }
func (r *Run) End(why spawn.Cause)                                 {}
func (r *Run) Ended() <-chan struct{}                              { return nil }
func (r *Run) Verdict() spawn.Verdict                              { return spawn.Verdict{} }
func (r *Run) Follow(after uint64) *Reader                         { return nil }
func (d *Reader) Next(ctx context.Context) (backend.Event, error)  { return backend.Event{}, errStub }
func (d *Reader) Close()                                           {}
