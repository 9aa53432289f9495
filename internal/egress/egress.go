// Package egress is which hosts the daemon itself may connect to on a client's word, so that a
// request can't reach through it what the client can't reach.
//
//	Parse(list) -> Rules    "*", NAME, ADDRESS, PREFIX, each but the first with or without :PORT
//	    AllowHost           may a URL name this host and port: asked of each URL, redirects too
//	    AllowAddr           may this address be connected to: asked of each socket, so that what a
//	                        name means is judged at the connection it is used for
//
// A name opens no address: what isn't public is opened by an ADDRESS or a PREFIX alone, whatever
// names come to mean.
package egress

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"penstock/internal/hint"
)

// Rules are what an operator allows; the zero value allows nothing.
type Rules struct {
	public bool // "*": every name, and every public address
	names  []name
	nets   []network
}

type name struct {
	host string // lower case, without a final dot
	port uint16 // 0 is those of the web
}

type network struct {
	netip.Prefix
	port uint16
}

// Parse reads a list as the configuration has it.
func Parse(list []string) (Rules, error) {
	var r Rules
	for _, entry := range list {
		if err := r.add(entry); err != nil {
			return Rules{}, err
		}
	}
	return r, nil
}

func (r *Rules) add(entry string) *hint.Error {
	if entry == "*" {
		r.public = true
		return nil
	}
	if p, err := netip.ParsePrefix(entry); err == nil {
		r.nets = append(r.nets, network{p.Masked(), 0})
		return nil
	}
	host, port, ok := splitPort(entry)
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && ok {
		a = a.Unmap().WithZone("")
		r.nets = append(r.nets, network{netip.PrefixFrom(a, a.BitLen()), port})
		return nil
	}
	host = canonical(host)
	if !ok || host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return hint.Errorf(`write "*", "images.example.net", "files.example.net:8443", "10.1.2.3" or "10.0.0.0/8"`, "%q is not a host, an address or a prefix, nor a host with a port", entry)
	}
	r.names = append(r.names, name{host, port})
	return nil
}

// splitPort takes the port off what is no bare IPv6 address; port is 0 where there is none.
func splitPort(entry string) (host string, port uint16, ok bool) {
	i := strings.LastIndexByte(entry, ':')
	if i < 0 || strings.HasSuffix(entry, "]") || !strings.HasPrefix(entry, "[") && strings.Count(entry, ":") > 1 {
		return entry, 0, true
	}
	n, err := strconv.ParseUint(entry[i+1:], 10, 16)
	return entry[:i], uint16(n), err == nil && n > 0
}

func canonical(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// AllowHost tells whether a URL may name the host, a name or an address without brackets, and
// the port. Where a name leads to is AllowAddr's to judge.
func (r Rules) AllowHost(host string, port uint16) bool {
	web := port == 80 || port == 443
	if r.public && web {
		return true
	}
	fits := func(listed uint16) bool { return listed == port || listed == 0 && web }
	if a, err := netip.ParseAddr(host); err == nil {
		return slices.ContainsFunc(r.nets, func(n network) bool { return fits(n.port) && n.Contains(a.Unmap()) })
	}
	host = canonical(host)
	return slices.ContainsFunc(r.names, func(n name) bool { return fits(n.port) && n.host == host })
}

// AllowAddr tells whether an address may be connected to for a URL that AllowHost allows.
func (r Rules) AllowAddr(a netip.AddrPort) bool {
	addr := a.Addr().Unmap()
	return Public(addr) || slices.ContainsFunc(r.nets, func(n network) bool {
		return (n.port == 0 || n.port == a.Port()) && n.Contains(addr)
	})
}

// Public tells whether an address is one of the internet's hosts: none of IANA's registries of
// special-purpose addresses, and none that stands for an IPv4 address (mapped, NAT64, 6to4, Teredo).
func Public(a netip.Addr) bool {
	if a.Is4() {
		return !slices.ContainsFunc(special4(), func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return unicast6().Contains(a) && a.Zone() == "" && !slices.ContainsFunc(special6(), func(p netip.Prefix) bool { return p.Contains(a) })
}

func special4() []netip.Prefix {
	return []netip.Prefix{
		v4(0, 0, 0, 0, 8),       // this network
		v4(10, 0, 0, 0, 8),      // private
		v4(100, 64, 0, 0, 10),   // carrier-grade NAT
		v4(127, 0, 0, 0, 8),     // loopback
		v4(169, 254, 0, 0, 16),  // link-local, metadata services of clouds
		v4(172, 16, 0, 0, 12),   // private
		v4(192, 0, 0, 0, 24),    // IETF protocols
		v4(192, 0, 2, 0, 24),    // documentation
		v4(192, 88, 99, 0, 24),  // 6to4 relays
		v4(192, 168, 0, 0, 16),  // private
		v4(198, 18, 0, 0, 15),   // benchmarks
		v4(198, 51, 100, 0, 24), // documentation
		v4(203, 0, 113, 0, 24),  // documentation
		v4(224, 0, 0, 0, 3),     // multicast, reserved, broadcast
	}
}

// unicast6 is all that IANA has given out; loopback, link-local, unique local, multicast,
// IPv4-mapped and NAT64 lie outside of it.
func unicast6() netip.Prefix { return v6(0x2000, 0, 3) }

func special6() []netip.Prefix {
	return []netip.Prefix{
		v6(0x2001, 0, 23),     // IETF protocols, Teredo
		v6(0x2001, 0xdb8, 32), // documentation
		v6(0x2002, 0, 16),     // 6to4
		v6(0x3fff, 0, 20),     // documentation
	}
}

func v4(a, b, c, d byte, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b, c, d}), bits)
}

func v6(a, b uint16, bits int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{byte(a >> 8), byte(a), byte(b >> 8), byte(b)}), bits)
}
