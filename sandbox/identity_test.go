package sandbox

import (
	"os/user"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDropPrivileged(t *testing.T) {
	gids := map[string]string{"docker": "998", "sudo": "27", "root": "0"}
	i := NewGroupFilter(func(name string) (*user.Group, error) {
		if gid, ok := gids[name]; ok {
			return &user.Group{Gid: gid, Name: name}, nil
		}
		return nil, user.UnknownGroupError(name)
	})
	given := &syscall.Credential{Uid: 1000, Gid: 1000, Groups: []uint32{1000, 998, 44, 27, 0}}
	got, news := i.DropPrivileged(given)
	if diff := cmp.Diff([]uint32{1000, 44}, got.Groups); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"docker", "sudo", "root"}, news); diff != "" {
		t.Error(diff)
	}
	if len(given.Groups) != 5 {
		t.Errorf("the caller's own credential was changed: %v", given.Groups)
	}
	if _, news := i.DropPrivileged(given); news != nil {
		t.Errorf("told twice: %v", news)
	}
	primary, _ := i.DropPrivileged(&syscall.Credential{Uid: 1001, Gid: 998, Groups: []uint32{998, 27}})
	if diff := cmp.Diff([]uint32{998}, primary.Groups); diff != "" || primary.Gid != 998 {
		t.Errorf("primary group: gid %d %s", primary.Gid, diff)
	}
	if same, news := i.DropPrivileged(nil); same != nil || news != nil {
		t.Error("the daemon's own user was changed")
	}
	root := &syscall.Credential{Groups: []uint32{998}}
	if same, _ := i.DropPrivileged(root); same != root {
		t.Error("root was changed")
	}
}
