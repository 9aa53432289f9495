package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"

	"penstock/config"
	"penstock/image"
	"penstock/server/health"
	"penstock/spawn"
)

// Options of Run beside the configuration.
type Options struct {
	Logger  *slog.Logger // nil discards
	Version string
	// SleepCommand is what the self-test runs, see spawn.Options; nil is the host's sleep(1).
	SleepCommand []string
	Commit       string
	Force        context.Context        // its end cuts the drain short; nil is never
	Ready        func(addrs []net.Addr) // called once when requests are served
	// Beat is called about once a second while Run serves; it must not block.
	Beat      func(Beat)
	Listeners []net.Listener // from systemd, or of a predecessor; they win over Config.Listen
	// Unlink removes the paths of Listeners at the end, as of those that Run opens.
	Unlink bool
	Lock   *os.File      // of the state directory, from HandedOver; nil is to be taken
	Origin *spawn.Origin // of the groups, from HandedOver; nil where nothing was left
	// Log tells how the writing of Logger's lines goes; nil where that isn't known.
	// Logger must not block: what serves and what ends would wait for it.
	Log func() LogState
	// ReapOrphans is spawn.Options.ReapOrphans: for a program that starts no
	// process by itself.
	ReapOrphans bool
	// Handover, where not nil, makes Run return *HandedOver when it is asked for.
	Handover *Handover
	// Tokens brings new tokens while Run serves; nil is never. Requests that
	// come after one was received are held to it. An empty list, and any where
	// there were none at the start, is not taken: whether a client may come in
	// without a token is decided once.
	Tokens <-chan []config.Token
	// Images brings those of a configuration that is read again, whether or not they have
	// changed: what their tags mean is asked anew. Nil is never.
	Images <-chan []image.Source
	// Process1 opens a static program that calls pid1.Main when it has these arguments: process
	// 1 of runs in images. It is called once, where a backend has an image; nil is an error then.
	Process1 func() (program *os.File, args []string, err error)
	// UnpackImage is a program that unpacks an image into the store, given four arguments:
	// the store, the layout, the digest and the bytes that are to stay free. Nil is that
	// images which aren't in the store are not had.
	UnpackImage []string
}

// Beat is how the daemon is, and LogState how the writing of its log goes.
type (
	Beat     = health.Beat
	LogState = health.LogState
)

// Handover lets Run make way for a successor without ending durable runs.
type Handover struct {
	Asked <-chan struct{}
	// Check may refuse before anything is given up: Run then serves on.
	Check func(context.Context, HandoverState) error
}

// HandoverState is what a successor takes over, whatever its configuration says.
type HandoverState struct {
	Enforced spawn.Enforced `json:"enforced"`
	Exposed  bool           `json:"exposed"` // other hosts reach it
	// Live are the backends of live durable runs, each with one of them.
	Live []LiveBackend `json:"live,omitempty"`
	// Images are those of the store, which Try's programs can't see.
	Images []StoredImage `json:"images,omitempty"`
	// Try runs a program in a group of its own, as runs are, and gives what it
	// printed; exit status 0 is no error.
	Try func(ctx context.Context, argv, env []string) (string, error) `json:"-"`
}

// LiveBackend is a backend that a live durable run needs.
type LiveBackend struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Run  string `json:"run"` // one of its runs
}

// StoredImage is one that penstock image add has made.
type StoredImage struct {
	Name     string `json:"name"`
	Home     string `json:"home"`
	Writable int64  `json:"writable,omitempty"` // bytes; 0 is the default
}

// HandedOver is what Run returns, as an error, when it has handed over: listeners in
// their order, on which nothing accepts from now, and the state directory's lock.
// Durable runs go on in their groups. The files are the caller's, for the
// successor or for another Run.
type HandedOver struct {
	Listeners []*os.File
	Lock      *os.File
	Origin    spawn.Origin
	Runs      int
}

func (l *HandedOver) Error() string { return fmt.Sprintf("handed over with %d runs", l.Runs) }
