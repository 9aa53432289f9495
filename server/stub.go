package server

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"penstock/config"
)

// Options of Run beside the configuration.
type Options struct {
	Logger    *slog.Logger
	Version   string
	Force     context.Context        // its end cuts the drain short; nil is never
	Ready     func(addrs []net.Addr) // called once when requests are served
	Listeners []net.Listener         // from systemd; they win over Config.Listen
}

// Run is a placeholder; the owner of this package deletes this file.
func Run(ctx context.Context, c config.Config, o Options) error { return errors.New("stub") }
