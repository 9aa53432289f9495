// Package systemd speaks to the service manager and holds the unit files.
// Without a service manager every call does nothing.
//
//	started:  Inherit ─ sockets of the socket unit, or those of a handover   listeners.go
//	serving:  Ready, Status, Reloading, Reloaded, Stopping (sd_notify(3))    notify.go
//	          Watchdog.Beat, as long as all is well (WatchdogSec=)           watchdog.go
//	leaving:  Environ ─ what the next program in this process inherits       listeners.go
//
// Beside it lie penstock.service, .socket and .slice, their drop-ins, and what the
// Debian package installs (deb/, user/).
package systemd
