// Package config is the daemon's configuration: defaults, then file, then
// environment, then flags, validated as a whole before anything starts.
package config

import "time"

// Config is the whole configuration after Load: every size is in bytes, every
// path absolute, every default filled in.
type Config struct {
	File           string   // the configuration file that was read; "" when there is none
	Listen         []string // "127.0.0.1:3344" or "unix:/path"
	StateDir       string
	TokensFile     string
	AllowedHosts   []string
	AllowedOrigins []string // "app://obsidian.md", "vscode-webview://*", "null"
	WorkspaceRoots []string
	DrainTimeout   time.Duration
	FirstByteAfter time.Duration // 0 is never
	Isolation      Isolation
	Budget         Budget
	Queue          Queue
	Keep           Keep
	Limits         Limits
	Translate      Translate
	Log            Log
	Clients        map[string]Client
	Backends       map[string]Backend // by name; demo, and the known six where found, are always there
	Tokens         []Token            // read from TokensFile
}

type Isolation struct {
	Mode            string // "strict", "available"
	SelfTest        bool
	Hide            []string // paths with wildcards; empty hides nothing
	ReadOnly        []string // likewise
	AbstractSockets bool     // the host's stay open to runs
}

type Budget struct {
	Memory  int64   // bytes
	Percent float64 // of what Memory was written as; 0 is a size
	MaxRuns int     // 0 is as memory allows
	// Overcommit reserves learned peaks in place of caps.
	Overcommit bool
}

// Keep is what stays of finished runs.
type Keep struct {
	Age  time.Duration
	Runs int
	Size int64 // bytes of output
	// MinFree is the room, in bytes, for which they go before their time.
	MinFree int64
}

type Queue struct {
	MaxWaiting int
	MaxWait    time.Duration
}

type Limits struct {
	MemoryMax  int64
	MemoryHigh int64 // 0 is off
	SwapMax    int64
	PidsMax    int64
	CPUMax     float64 // cores; 0 is off ("200%" is 2)
	CPUWeight  uint64
	Timeout    time.Duration
	Stall      time.Duration // stall_timeout
	Grace      time.Duration
	OutputMax  int64
	LineMax    int64
	// Clipped is true when a default cap was larger than the budget and was clipped to it.
	Clipped bool
}

type Translate struct {
	SidecarHost string
	Aliases     []string
}

type Log struct {
	Level  string
	Format string // "auto", "text", "json"
}

type Client struct {
	MaxRuns      int
	ReservedRuns int
	Weight       int
	Operator     bool // may see and cancel every client's runs
}

// Backend is one configured backend, resolved as far as this host allows.
type Backend struct {
	Name         string
	Kind         string
	Command      []string // as configured; the program resolved to an absolute path when found
	Missing      string   // why the program can't be run; "" when it can
	DefaultModel string
	Models       []string
	Aliases      []string // more names of the backend in a request's model
	Env          []string
	SetEnv       map[string]string
	ExtraArgs    []string
	Permissions  string
	Home         string // "", "private", or a directory
	HomeSeed     string
	Cwd          string
	User         string
	Limits       Limits // complete: defaults merged
	Configured   bool   // named in the file, not merely known
}

// Token is one line of the tokens file.
type Token struct {
	Name   string
	SHA256 [32]byte // of the token
	Plain  bool     // the file has the token itself, for whoever can read it
}
