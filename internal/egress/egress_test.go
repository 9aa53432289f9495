package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	for _, addr := range []string{"8.8.8.8", "1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "192.0.1.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "2001:4860::8888"} {
		if !Public(netip.MustParseAddr(addr)) {
			t.Errorf("%s is public", addr)
		}
	}
	for _, addr := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1",
		"5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:4700::1111%eth0",
	} {
		if Public(netip.MustParseAddr(addr)) {
			t.Errorf("%s is not public", addr)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		list     string // blanks between entries
		host     string
		port     uint16
		addr     string // where the host is
		ok, dial bool   // AllowHost, AllowAddr
	}{
		{"", "example.net", 443, "8.8.8.8", false, true},
		{"*", "example.net", 443, "8.8.8.8", true, true},
		{"*", "example.net", 80, "2606:4700::1", true, true},
		{"*", "example.net", 8080, "8.8.8.8", false, true},
		{"*", "example.net", 22, "8.8.8.8", false, true},
		{"*", "8.8.8.8", 443, "8.8.8.8", true, true},
		{"*", "intranet", 80, "10.1.2.3", true, false},
		{"*", "localhost", 80, "127.0.0.1", true, false},
		{"*", "127.0.0.1", 80, "127.0.0.1", true, false},
		{"*", "::ffff:127.0.0.1", 80, "::ffff:127.0.0.1", true, false},
		{"*", "mapped", 80, "::ffff:8.8.8.8", true, true}, // the kernel speaks IPv4 then
		{"*", "::1", 80, "::1", true, false},
		{"example.net", "example.net", 443, "8.8.8.8", true, true},
		{"Example.NET.", "EXAMPLE.net.", 80, "8.8.8.8", true, true},
		{"example.net", "www.example.net", 443, "8.8.8.8", false, true},
		{"example.net", "notexample.net", 443, "8.8.8.8", false, true},
		{"example.net", "example.net", 8443, "8.8.8.8", false, true},
		{"example.net:8443", "example.net", 8443, "8.8.8.8", true, true},
		{"example.net:8443", "example.net", 443, "8.8.8.8", false, true},
		{"example.net", "example.net", 443, "127.0.0.1", true, false}, // rebound
		{"files.corp:8080 10.0.0.0/8", "files.corp", 8080, "10.1.2.3", true, true},
		{"files.corp:8080 10.0.0.0/8", "files.corp", 8080, "192.168.1.1", true, false},
		{"files.corp 10.1.2.3:80", "files.corp", 80, "10.1.2.3", true, true},
		{"files.corp 10.1.2.3:80", "files.corp", 443, "10.1.2.3", true, false},
		{"10.0.0.0/8", "10.1.2.3", 80, "10.1.2.3", true, true},
		{"10.0.0.0/8", "10.1.2.3", 8080, "10.1.2.3", false, true},
		{"10.1.2.3/8", "10.200.2.3", 80, "10.200.2.3", true, true},
		{"10.1.2.3:8080", "10.1.2.3", 8080, "10.1.2.3", true, true},
		{"10.1.2.3:8080", "10.1.2.4", 8080, "10.1.2.4", false, false},
		{"127.0.0.1:99", "::ffff:127.0.0.1", 99, "::ffff:127.0.0.1", true, true},
		{"[::1]:99", "::1", 99, "::1", true, true},
		{"[::1]", "::1", 443, "::1", true, true},
		{"::1", "::1", 443, "::1", true, true},
		{"fd00::/8", "fd12::1", 80, "fd12::1", true, true},
		{"0.0.0.0/0", "127.0.0.1", 80, "127.0.0.1", true, true},
		{"0.0.0.0/0", "::1", 80, "::1", false, false},
	} {
		r, err := Parse(strings.Fields(c.list))
		if err != nil {
			t.Errorf("%s: %v", c.list, err)
			continue
		}
		if ok := r.AllowHost(c.host, c.port); ok != c.ok {
			t.Errorf("%q: host %s port %d: %v, want %v", c.list, c.host, c.port, ok, c.ok)
		}
		if dial := r.AllowAddr(netip.AddrPortFrom(netip.MustParseAddr(c.addr), c.port)); dial != c.dial {
			t.Errorf("%q: address %s port %d: %v, want %v", c.list, c.addr, c.port, dial, c.dial)
		}
	}
}

func TestParse_Refused(t *testing.T) {
	for _, entry := range []string{
		"", ".", "**", "*.example.net", "https://example.net", "example.net/", "example.net:", "example.net:0", "example.net:65536", "example.net:-1", "example.net:http",
		"10.0.0.0/33", "10.0.0/8", "[::1", "[::1]:", "a b", "a,b", "user@example.net", "exämple.net", strings.Repeat("a", 254), "[example.net]:80",
	} {
		if r, err := Parse([]string{entry}); err == nil {
			t.Errorf("%q: taken as %+v", entry, r)
		} else if !strings.Contains(err.Error(), "(hint: ") {
			t.Errorf("%q: %v: no hint", entry, err)
		}
	}
}
