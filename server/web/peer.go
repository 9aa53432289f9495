package web

import (
	"context"
	"net"
	"net/netip"
	"os"

	"penstock/internal/peercred"
	"penstock/server/listener"
)

// peer is the other end of a connection, as the kernel says.
type peer struct {
	unix     bool
	uid      uint32         // unix(7) SO_PEERCRED; only with known
	known    bool           // uid could be read
	local    netip.Addr     // TCP: the address that was connected to
	reserved bool           // on a descriptor of the reserve
	conn     *listener.Conn // nil in tests without a connection
}

// WithPeer is asked once for each connection.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	var p peer
	if accepted, ok := c.(*listener.Conn); ok {
		p.conn, p.reserved, c = accepted, accepted.Reserved(), accepted.Conn
	}
	switch conn := c.(type) {
	case *net.UnixConn:
		p.unix = true
		if cred, err := peercred.Of(conn); err == nil {
			p.uid, p.known = cred.Uid, true
		}
	default:
		if tcp, ok := c.LocalAddr().(*net.TCPAddr); ok {
			p.local = tcp.AddrPort().Addr()
		}
	}
	return context.WithValue(ctx, peerKey, p)
}

func peerOf(ctx context.Context) peer {
	p, _ := ctx.Value(peerKey).(peer)
	return p
}

// operator is root or the user the daemon runs as.
func (p peer) operator() bool {
	return p.known && (p.uid == 0 || int(p.uid) == os.Geteuid())
}
