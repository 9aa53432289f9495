package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/godbus/dbus/v5"

	"penstock/test/escape/task"
)

type property struct {
	Name  string
	Value dbus.Variant
}

type execStart struct {
	Path          string
	Argv          []string
	IgnoreFailure bool
}

type auxiliary struct {
	Name       string
	Properties []property
}

// transient asks a service manager for a unit that is the marked process, by a
// message bus or at the manager's own socket.
func (a *attempt) transient(socket string, bus bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := dbus.Dial("unix:path="+socket, dbus.WithContext(ctx))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		return fmt.Errorf("%s: %w", socket, err)
	}
	if bus {
		if err := conn.Hello(); err != nil {
			return fmt.Errorf("%s: %w", socket, err)
		}
	}
	properties := []property{
		{"Description", dbus.MakeVariant("escape")},
		{"ExecStart", dbus.MakeVariant([]execStart{{a.self, []string{a.self, task.Linger, a.Token}, true}})},
	}
	var job dbus.ObjectPath
	return conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").CallWithContext(ctx,
		"org.freedesktop.systemd1.Manager.StartTransientUnit", 0,
		"escape-"+a.Token+".service", "fail", properties, []auxiliary{}).Store(&job)
}
