// Package listener is the sockets of the daemon and the connections on them. It
// knows nothing of what is said over a connection.
//
//	Config.Listen ── Open ──> []net.Listener ── Connections.Limit ──> http.Server
//	 (or systemd's, or            │                    │
//	  a predecessor's)        listen.go         connections.go: accepts; sheds and closes
//	                              │              those that stand still or stall
//	      Duplicates, KeepPaths   │                ├─ conn.go: one connection's phase and deadlines
//	                              v                ├─ fdreserve.go: descriptors kept back for when
//	          what a handover passes on            │    there are none
//	                                               └─ hangup.go: epoll tells that a peer has closed,
//	                                                    which ends the connection's context
package listener
