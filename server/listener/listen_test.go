package listener

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var given []net.Listener
	for _, address := range []string{"127.0.0.1:0", "unix:" + path} {
		l, err := listenOne(address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		given = append(given, l)
	}
	tcp := given[0].Addr().String()
	for _, row := range []struct {
		configured, want []string
		given            []net.Listener
	}{
		{[]string{tcp, "unix:" + path}, []string{}, given},
		{[]string{tcp, "127.0.0.1:1", "unix:/other"}, []string{"127.0.0.1:1", "unix:/other"}, given},
		{[]string{"127.0.0.1:1"}, nil, nil},
	} {
		if diff := cmp.Diff(row.want, Missing(row.configured, row.given)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", row.configured, diff)
		}
	}
}

func TestOpen_NoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := listenOne("unix:" + dir + "/s")
	if err == nil || !strings.Contains(err.Error(), "no directory "+dir+": make it or change listen") {
		t.Errorf("%v", err)
	}
}

func TestRemoveStale_GoneMeanwhile(t *testing.T) {
	if err := removeStale(filepath.Join(t.TempDir(), "s")); err != nil {
		t.Errorf("removed by its owner meanwhile: %v", err)
	}
}

// An address that a child of a killed daemon still holds is waited for, one that
// another process has isn't for long.
func TestOpen_AddressInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, address := range []string{"127.0.0.1:0", "unix:" + path} {
		first, err := listenOne(address)
		if err != nil {
			t.Fatal(err)
		}
		if address == "127.0.0.1:0" {
			address = first.Addr().String()
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := listenSoon(ctx, address); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, asked to stop: %v", address, err)
		}
		if _, err := listenSoon(t.Context(), address); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s, taken: %v", address, err)
		}
		time.AfterFunc(20*time.Millisecond, func() { first.Close() })
		l, err := listenSoon(t.Context(), address)
		if err != nil {
			t.Errorf("%s, free by now: %v", address, err)
			continue
		}
		l.Close()
	}
}
