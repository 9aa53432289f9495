package e2e

import (
	"net/http"
	"os"
	"testing"

	"penstock/test/daemon"
	"penstock/test/openapi"
)

// Every exchange of these tests is as /openapi.json says.
func TestMain(m *testing.M) {
	os.Exit(openapi.Main(m, &http.DefaultTransport, &daemon.Transport))
}
