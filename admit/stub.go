package admit

import (
	"context"
	"errors"
	"time"
)

// Placeholder bodies of the contract; the owner of this package deletes this file.
type Gate struct{}
type Slot struct{}

func (r *Refused) Error() string { return string(r.Reason) + ": " + r.Detail }

func New(o Options) *Gate                                         { return &Gate{} }
func (g *Gate) Acquire(ctx context.Context, a Ask) (*Slot, error) { return nil, errors.New("stub") }
func (g *Gate) Stats() Stats                                      { return Stats{} }
func (g *Gate) Drain()                                            {}
func (s *Slot) Release()                                          {}
func (s *Slot) Waited() time.Duration                             { return 0 }
