// Package e2e drives the built daemon with the real agent CLIs, pinned from
// npm, against a scripted model server, through stock OpenAI SDKs. It has tests
// only.
package e2e
