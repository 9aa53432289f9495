package run

import (
	"context"
	"errors"
	"os"
	"time"

	"penstock/outcome"
)

// Detach refuses further starts, lets every durable run live on for the next
// daemon to adopt, sees to the end of those whose end has begun, under ctx, ends
// the others, and stops the manager's own work. The state directory stays
// locked by the file returned, which Inherit takes. Call it instead of Close.
func (m *Manager) Detach(ctx context.Context) (lock *os.File, left int, err error) {
	left, err = m.detachAll(ctx)
	return m.state.Lock, left, err
}

// abandon is for an Open that fails: what it has adopted lives on.
func (m *Manager) abandon(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, abandonMax)
	defer cancel()
	_, err := m.detachAll(bounded)
	return errors.Join(err, m.state.Close())
}

// abandonMax bounds how long an Open that fails waits for runs that are just ending.
const abandonMax = 10 * time.Second

func (m *Manager) detachAll(ctx context.Context) (left int, err error) {
	m.refuseStarts()
	runs := m.all()
	for _, r := range runs {
		if r.detach() {
			left++
			continue
		}
		r.End(outcome.ShuttingDown)
	}
	return left, errors.Join(awaitDone(ctx, runs), m.stop())
}
