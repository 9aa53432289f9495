//go:build process1

package process1

import _ "embed"

// program is cmd/process1, which `make build` has built before.
//
//go:embed program
var program string
