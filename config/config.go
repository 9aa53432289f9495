// Package config is the daemon's configuration: defaults, then file, then
// environment, then flags, validated as a whole before anything starts.
//
//	Config: one struct, its tags are the keys         config.go    (docs/adr/0013)
//	    Size, Duration, CPU, Argv: types of values    types.go, and Mount: mounts.go
//	    one walk over the tags: keys, names, lookup   schema.go    flags, manual, completion
//	Load                                              load.go
//	    file -> go-toml, key by key                   document.go  each problem with its place
//	    PENSTOCK_* and flags                          environ.go
//	    then what only the whole can tell             validate.go limits.go listen.go hide.go
//	                                                  clients.go tokens.go backends.go program.go paths.go images.go mounts.go
//	Problems: all of them, with carets and hints      problem.go
//	Dump, Changed: the way back                       dump.go
//
// A new key is a field of Config with the tags toml, default, help and oneof.
package config

// Config is the whole configuration after Load: every size in bytes, every path
// absolute, every default filled in.
type Config struct {
	Listen         []string    `toml:"listen" default:"127.0.0.1:3344" help:"addresses: host:port or unix:/path"`
	StateDir       string      `toml:"state_dir" help:"where runs and sessions are kept"`
	TokensFile     string      `toml:"tokens_file" help:"file of name:token lines, mode 0600"`
	AllowedHosts   []string    `toml:"allowed_hosts" help:"Host names accepted beside loopback and the listen addresses"`
	AllowedOrigins []string    `toml:"allowed_origins" help:"Origin headers accepted beside the daemon's own: desktop apps and web pages that may use it"`
	WorkspaceRoots []string    `toml:"workspace_roots" default:"~" help:"directories a request's cwd may lie in"`
	DrainTimeout   Duration    `toml:"drain_timeout" default:"20s" help:"how long live runs may go on after SIGTERM"`
	FirstByteAfter Duration    `toml:"first_byte_after" default:"20s" help:"when a reply that isn't streamed starts with its headers and spaces; 0 is never"`
	Isolation      Isolation   `toml:"isolation"`
	Budget         Budget      `toml:"budget"`
	Keep           Keep        `toml:"keep"`
	Queue          Queue       `toml:"queue"`
	Limits         Limits      `toml:"limits"`
	Attachments    Attachments `toml:"attachments"`
	Translate      Translate   `toml:"translate"`
	Log            Log         `toml:"log"`

	Clients  map[string]Client  `toml:"clients,omitempty"`
	Backends map[string]Backend `toml:"backends,omitempty"` // by name; demo, and the known six where found, are always there
	Images   map[string]Image   `toml:"images,omitempty"`   // by name; there are others in the store

	File   string  `toml:"-"` // the configuration file that was read; "" when there is none
	Tokens []Token `toml:"-"` // read from TokensFile
}

// Isolation is what holds a run.
type Isolation struct {
	Mode            string   `toml:"mode" default:"available" oneof:"strict available" help:"strict: the kernel must hold memory and pids"`
	SelfTest        bool     `toml:"self_test" default:"true" help:"at start, run a real child in a throw-away group"`
	Hide            []string `toml:"hide" default:"default" help:"paths that are empty to runs when penstock is root"`
	ReadOnly        []string `toml:"read_only" default:"default" help:"paths that runs can only read when penstock is root"`
	AbstractSockets bool     `toml:"abstract_sockets" default:"false" help:"let runs connect to the host's abstract sockets"`
}

// Budget is what all runs together may have.
type Budget struct {
	Memory     Size `toml:"memory" default:"75%" help:"memory of all runs together; a percentage is of the smallest limit above, and follows it"`
	MaxRuns    int  `toml:"max_runs" default:"0" help:"runs at once; 0 is as memory allows"`
	Overcommit bool `toml:"overcommit" default:"false" help:"reserve what a backend's runs lately needed in place of their cap"`
}

// Keep is what stays of finished runs.
type Keep struct {
	Age     Duration `toml:"age" default:"1h" help:"how long a finished run and its output are kept"`
	Runs    int      `toml:"runs" default:"1000" help:"finished runs kept at most"`
	Size    Size     `toml:"size" default:"4GiB" help:"output of finished runs kept at most"`
	MinFree Size     `toml:"min_free" default:"256MiB" help:"room below which finished runs go early and the daemon is not ready, at most a tenth of the file system; 0 is none"`
}

// Queue is where requests wait that find no slot.
type Queue struct {
	MaxWaiting int      `toml:"max_waiting" default:"64" help:"requests of one client that may wait"`
	MaxWait    Duration `toml:"max_wait" default:"4m" help:"how long a request may wait"`
}

// Limits are of one run. A backend has its own, each in place of the one of the
// whole configuration.
type Limits struct {
	MemoryMax  Size     `toml:"memory_max" default:"2GiB" help:"memory of one run, a hard cap"`
	MemoryHigh Size     `toml:"memory_high" help:"memory of one run above which it is throttled; empty is off"`
	SwapMax    Size     `toml:"swap_max" default:"0" help:"swap of one run; only 0 is possible"`
	PidsMax    int64    `toml:"pids_max" default:"512" help:"processes and threads of one run"`
	CPUMax     CPU      `toml:"cpu_max" help:"processor time of one run, 200% is two cores; empty is no limit"`
	CPUWeight  uint64   `toml:"cpu_weight" default:"100" help:"share of the processors against other runs, 1..10000"`
	Timeout    Duration `toml:"timeout" default:"30m" help:"longest life of one run"`
	Stall      Duration `toml:"stall_timeout" default:"10m" help:"no output, CPU and I/O for so long ends a run; 0 is never"`
	Grace      Duration `toml:"grace" default:"2s" help:"between SIGTERM and the kill, where the program wants it"`
	OutputMax  Size     `toml:"output_max" default:"64MiB" help:"output of one run"`
	LineMax    Size     `toml:"line_max" default:"16MiB" help:"one line of output"`

	Clipped bool `toml:"-"` // a default cap was larger than the budget and was clipped to it
}

// Attachments are the images and files of requests, where those only name them.
type Attachments struct {
	Fetch        bool     `toml:"fetch" default:"false" help:"fetch images and files that a request names by URL"`
	FetchHosts   []string `toml:"fetch_hosts" default:"*" help:"where from: hosts, addresses and prefixes; * is every public host"`
	FetchMax     Size     `toml:"fetch_max" default:"6MiB" help:"bytes of one that is fetched, at most 16MiB"`
	FetchTimeout Duration `toml:"fetch_timeout" default:"10s" help:"how long all fetches of a request may take"`
}

// Translate is how a client in a container may name this host.
type Translate struct {
	SidecarHost string   `toml:"sidecar_host" default:"host.docker.internal" help:"name of this host seen from a container"`
	Aliases     []string `toml:"aliases" default:"host.containers.internal" help:"further such names"`
}

// Log is the daemon's own.
type Log struct {
	Level  string `toml:"level" default:"info" oneof:"debug info warn error" help:"least level that is logged"`
	Format string `toml:"format" default:"auto" oneof:"auto text json" help:"auto: text on a terminal, JSON else"`
}

// Client is one that is known by its token or its uid.
type Client struct {
	MaxRuns      int  `toml:"max_runs" default:"0" help:"runs at once of this client; 0 is no limit of its own"`
	ReservedRuns int  `toml:"reserved_runs" default:"0" help:"slots, with memory for them, that nobody else may use"`
	Weight       int  `toml:"weight" default:"1" help:"turns against other clients, 1..100"`
	Operator     bool `toml:"operator" default:"false" help:"may see and cancel every client's runs"`
	// Continuity finds the session of a conversation that comes without an id: by its text.
	Continuity string `toml:"continuity" default:"none" oneof:"none prefix" help:"prefix continues the session whose conversation a request repeats: for clients that send no session id"`
}

// ContinuityPrefix is Client.Continuity's word for the session whose conversation a request repeats.
const ContinuityPrefix = "prefix"

// Image is a root file system for runs: a directory, or a tag of an OCI image layout.
type Image struct {
	Rootfs   string `toml:"rootfs,omitempty" help:"directory that is the root file system; never written to"`
	OCI      string `toml:"oci,omitempty" help:"OCI image layout on disk and tag, as DIR:TAG; unpacked once, by digest"`
	Home     string `toml:"home" default:"/home/agent" help:"HOME inside"`
	Writable Size   `toml:"writable" help:"memory for what a run writes to /tmp, /var/tmp, /dev/shm and HOME together; empty is a quarter of its memory_max"`
}

// Backend is one configured backend, resolved as far as this host allows.
type Backend struct {
	Kind         string            `toml:"kind" help:"which adapter: claude codex gemini kimi opencode pi acp demo exec jsonl"`
	Command      Argv              `toml:"command,omitempty" help:"program and arguments"` // the program resolved to an absolute path when found
	DefaultModel string            `toml:"default_model,omitempty" help:"model when a request names none"`
	Models       []string          `toml:"models,omitempty" help:"models to list"`
	Aliases      []string          `toml:"aliases,omitempty" help:"more names a client may ask for it by"`
	Env          []string          `toml:"env,omitempty" help:"environment variables to pass on"`
	SetEnv       map[string]string `toml:"set_env,omitempty" help:"environment variable to set"`
	ExtraArgs    []string          `toml:"extra_args,omitempty" help:"arguments to append"`
	Permissions  string            `toml:"permissions" default:"bypass" oneof:"bypass plan default" help:"what the agent may do unasked"`
	Home         string            `toml:"home" help:"empty, private, or a directory"`
	HomeSeed     string            `toml:"home_seed,omitempty" help:"directory copied into a private home"`
	Cwd          string            `toml:"cwd,omitempty" help:"working directory when a request names none"`
	User         string            `toml:"user,omitempty" help:"Unix user to run as"`
	Image        string            `toml:"image,omitempty" help:"root file system of its runs, in place of the host's"`
	Mounts       []Mount           `toml:"mounts,omitempty,inline" help:"files and directories of the host that its runs have in their image"`
	Network      string            `toml:"network" default:"host" oneof:"host none" help:"network of its runs in an image"`
	Limits       Limits            `toml:"limits" inherits:"limits"` // complete after Load

	Name       string `toml:"-"`
	Missing    string `toml:"-"` // why the program can't be run; "" when it can
	Configured bool   `toml:"-"` // named in the file, not merely known
}
