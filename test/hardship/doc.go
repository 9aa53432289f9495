// Package hardship makes the machine fail around a live daemon: no room on the
// disk, a disk that turns read-only, a clock that jumps, a daemon that doesn't
// get the processor, no descriptors, no inotify watches. Whatever happens,
// clients hear a clear error, no slot is lost, and when the trouble is over all
// is as before. What needs root over a whole machine runs in the lab only. It
// has tests only.
package hardship
