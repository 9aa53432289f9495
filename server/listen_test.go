package server

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSocketsThatStandInForOthersAreTold(t *testing.T) {
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
		if diff := cmp.Diff(row.want, missing(row.configured, row.given)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", row.configured, diff)
		}
	}
}

func TestSocketWithoutItsDirectorySaysWhichIsMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := listenOne("unix:" + dir + "/s")
	if err == nil || !strings.Contains(err.Error(), "no directory "+dir+": make it or change listen") {
		t.Errorf("%v", err)
	}
}
