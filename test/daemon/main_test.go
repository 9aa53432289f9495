package daemon

import (
	"net/http"
	"os"
	"testing"

	"penstock/test/openapi"
)

// Every exchange of these tests is as /openapi.json says.
func TestMain(m *testing.M) {
	os.Exit(openapi.Main(m, &http.DefaultTransport, &Transport))
}
