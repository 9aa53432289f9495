package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"penstock/config"
	"penstock/server/listener"
	"penstock/server/web"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Run serves until ctx ends, then drains for c.DrainTimeout, ends every run
// and returns nil. An error means that it could not start, could not go on
// serving, or could not end every run; or it is *HandedOver, after a handover.
func Run(ctx context.Context, c config.Config, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Log == nil {
		o.Log = func() LogState { return LogState{} }
	}
	if o.Force == nil {
		o.Force = context.Background()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	listeners, err := listener.Open(ctx, c, o.Listeners)
	if err != nil {
		return err
	}
	if missed := listener.Missing(c.Listen, o.Listeners); len(missed) > 0 {
		o.Logger.Warn("listen: the sockets from systemd win (hint: systemctl edit penstock.socket, or mask it)", "given", listener.Names(o.Listeners), "not_opened", missed)
	}
	d, err := open(ctx, c, o)
	if err != nil {
		listener.CloseAll(listeners)
		return err
	}
	listener.KeepPaths(o.Listeners, !o.Unlink)
	if err := d.connections.Open(d.log); err != nil {
		listener.CloseAll(listeners)
		return errors.Join(fmt.Errorf("serve: %w", err), d.close(ctx))
	}
	defer d.connections.Close()
	srv := d.httpServer()
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		d.accepting.Go(func() { failed <- srv.Serve(d.connections.Limit(l)) })
	}
	d.log.Info("serving", "addresses", listener.Names(listeners), "version", o.Version)
	if o.Ready != nil {
		o.Ready(listener.Addrs(listeners))
	}
	left, serveErr := d.serve(ctx, srv, listeners, failed, o.Handover)
	if left != nil {
		return left
	}
	pending := len(listeners)
	if serveErr != nil {
		pending--
	}
	endErr := d.shutdown(o.Force, srv, listeners, context.Cause(ctx))
	for range pending {
		<-failed // Serve returns as soon as the server is closed
	}
	err = errors.Join(serveErr, endErr)
	if err == nil {
		d.log.Info("stopped", "uptime", time.Since(d.begun).Round(time.Second).String())
	}
	return err
}

// serve waits for the reason to end: a handover that has left everything, a
// listener that failed, or ctx.
func (d *daemon) serve(ctx context.Context, srv *http.Server, listeners []net.Listener, failed <-chan error, h *Handover) (*HandedOver, error) {
	var asked <-chan struct{}
	if h != nil {
		asked = h.Asked
	}
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-failed:
			return nil, fmt.Errorf("serve: %w", err)
		case <-asked:
			if left := d.handOver(ctx, srv, listeners, h); left != nil {
				return left, nil
			}
		}
	}
}

func (d *daemon) httpServer() *http.Server {
	return &http.Server{
		Handler:           d.handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return web.WithPeer(d.connections.ConnContext(ctx, c), c)
		},
		ConnState: d.connections.ConnState,
		ErrorLog:  slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
		// OPTIONS * must not get around the guard and the error shape.
		DisableGeneralOptionsHandler: true,
	}
}
