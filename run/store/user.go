package store

import (
	"fmt"
	"os"
	"path"
	"penstock/internal/trash"
	"syscall"
)

// User is the Unix user a backend runs as.
type User struct {
	Name     string
	UID, GID uint32
	Groups   []uint32
	Home     string
}

// Own gives a fresh path to the user; a nil user is the daemon's own.
func (u *User) Own(path string) error {
	if u == nil {
		return nil
	}
	if err := os.Lchown(path, int(u.UID), int(u.GID)); err != nil {
		return fmt.Errorf("give %s to user %s: %w", path, u.Name, err)
	}
	return nil
}

// Environment is what tells a child its user; none for the daemon's own user.
func (u *User) Environment() []string {
	if u == nil {
		return nil
	}
	env := []string{"USER=" + u.Name, "LOGNAME=" + u.Name}
	if u.Home != "" {
		env = append(env, "HOME="+u.Home)
	}
	return env
}

// Credential is nil for the daemon's own user.
func (u *User) Credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
}

// GiveTree gives children before their parents: nothing can be put in the place of
// what is still to be given.
func GiveTree(dir string, u *User) error {
	if u == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return u.ownBelow(root, ".")
}

func (u *User) ownBelow(root *os.Root, dir string) error {
	entries, err := trash.Entries(root, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			err = u.ownBelow(root, name)
		} else {
			err = root.Lchown(name, int(u.UID), int(u.GID))
		}
		if err != nil {
			return fmt.Errorf("give to user %s: %w", u.Name, err)
		}
	}
	return root.Lchown(dir, int(u.UID), int(u.GID))
}
