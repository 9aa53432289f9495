//go:build !amd64 && !arm64

// Empty: it lets the compiler take the functions without a body in
// launcher_fork.go, which the runtime has.
