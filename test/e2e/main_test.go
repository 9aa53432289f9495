package e2e

import (
	"net/http"
	"os"
	"testing"

	"penstock/internal/openapitest"
	"penstock/test/daemon"
)

// Every exchange of these tests is as /openapi.json says.
func TestMain(m *testing.M) {
	os.Exit(openapitest.Main(m, &http.DefaultTransport, &daemon.Transport))
}
