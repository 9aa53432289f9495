// Package openapi holds the document of the HTTP surface, OpenAPI 3.1 (3.1.0,
// JSON Schema draft 2020-12). It is written by hand; internal/openapitest holds every
// exchange of the tests against it.
package openapi

import _ "embed"

//go:embed openapi.json
var document []byte

// Document is the whole text, JSON; not to be changed.
func Document() []byte { return document }
