// Package chaos runs the daemon through what goes wrong: a thousand runs whose
// ends are known beforehand, memory eaten beside working runs, a budget that
// everybody fills at once, and a daemon that dies in a burst of OOM kills. Its
// tests are for the lab, whose kernel enforces; natively they hold our own
// watch to what a watch can promise.
//
// PENSTOCK_CHAOS is the number of runs (without it: 200, or what fits in half a
// minute), PENSTOCK_CHAOS_SEED replays a sequence, PENSTOCK_CHAOS_ONLY picks
// scripts by name. Of a hundred runs PENSTOCK_CHAOS_IMAGES are in an image.
package chaos
