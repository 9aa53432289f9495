// Package systemd speaks to the service manager: readiness and status
// (sd_notify(3)), sockets it opened for us (sd_listen_fds(3)). Without a
// service manager every call does nothing. The unit file lies beside it.
package systemd
