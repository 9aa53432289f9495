package backend

import "encoding/json"

// acpAuthRequired is the protocol's own error code.
const acpAuthRequired = -32000

// acpFailure finds the provider's HTTP status where agents put it: as the error's
// code (gemini), in the data, or in the message.
func acpFailure(what string, e rpcError) *Failure {
	message := e.Message
	var data struct {
		Details string `json:"details"`
		Message string `json:"message"`
		Status  int    `json:"statusCode"`
	}
	if !decode(e.Data, &data) {
		json.Unmarshal(e.Data, &data.Details) // a string, or nothing
	}
	for _, more := range []string{data.Details, data.Message} {
		if more != "" && more != message {
			message += ": " + more
		}
	}
	status := data.Status
	if status == 0 && e.Code >= 400 && e.Code < 600 {
		status = e.Code
	}
	if status == 0 {
		status = statusIn(message)
	}
	if what != "session/prompt" {
		message = what + ": " + message
	}
	failure := providerFailure(status, message)
	if e.Code == acpAuthRequired {
		failure.Code = "provider_auth"
	}
	return failure
}
