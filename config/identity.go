package config

import (
	"errors"
	"os/user"
)

const privateHome = "private"

// home is "", "private" or a directory that exists.
func (b *builder) home(prefix string) string {
	if h := value[string](b.layers, prefix+"home"); h == privateHome {
		return h
	}
	return b.directory(prefix + "home")
}

func (b *builder) homeSeed(prefix string) string {
	key := prefix + "home_seed"
	seed := b.directory(key)
	if seed != "" && value[string](b.layers, prefix+"home") != privateHome {
		b.reject(key, `write home = "private"`, "only a private home can be seeded")
	}
	return seed
}

// user must exist, and only root can become somebody else.
func (b *builder) user(key string) string {
	name := value[string](b.layers, key)
	if name == "" {
		return ""
	}
	if _, err := user.Lookup(name); err != nil {
		var unknown user.UnknownUserError
		if errors.As(err, &unknown) {
			b.reject(key, "useradd --system "+name, "there is no user %q", name)
		} else {
			b.reject(key, "", "look up user %q: %s", name, err)
		}
	}
	if b.host.UID != 0 {
		b.reject(key, "start the daemon as root, or leave user out", "only root can run a backend as %q", name)
	}
	return name
}
