// Package prometheus is the proof of what is shipped for operators: a real
// Prometheus scrapes a real daemon under load, and is asked every query of
// every panel and every rule. Prometheus is Debian's; `make prometheus` sees to it.
package prometheus
