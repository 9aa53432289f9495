// Package load drives the built daemon with many clients at once and looks at
// what stays: processes, groups, memory, descriptors. It has tests only.
package load
