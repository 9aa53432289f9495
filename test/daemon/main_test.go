package daemon

import (
	"net/http"
	"os"
	"testing"

	"penstock/internal/openapitest"
)

// Every exchange of these tests is as /openapi.json says.
func TestMain(m *testing.M) {
	os.Exit(openapitest.Main(m, &http.DefaultTransport, &Transport))
}
