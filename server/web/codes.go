package web

import (
	"net/http"

	"penstock/outcome"
)

// Code is the machine-readable word for what failed: one of these, or the
// outcome.Cause of a run. docs/api.md has all of them in words.
type Code string

const (
	InvalidRequest       Code = "invalid_request"
	NotDurable           Code = "not_durable"
	InvalidAPIKey        Code = "invalid_api_key"
	HostNotAllowed       Code = "host_not_allowed"
	OriginNotAllowed     Code = "origin_not_allowed"
	ClientNotAllowed     Code = "client_not_allowed"
	CwdNotAllowed        Code = "cwd_not_allowed"
	NotFound             Code = "not_found"
	ModelNotFound        Code = "model_not_found"
	RunNotFound          Code = "run_not_found"
	SessionNotFound      Code = "session_not_found"
	ResponseNotFound     Code = "response_not_found" // a stored answer, or an item of one
	MethodNotAllowed     Code = "method_not_allowed"
	BodyTimeout          Code = "body_timeout"
	RunIDConflict        Code = "run_id_conflict"
	SessionBusy          Code = "session_busy"
	ResponseBusy         Code = "response_busy"
	ReplayGone           Code = "replay_gone"
	BodyTooLarge         Code = "body_too_large"
	UnsupportedMediaType Code = "unsupported_media_type"
	UpgradeRequired      Code = "upgrade_required"
	InternalError        Code = "internal_error"
	TextVoided           Code = "text_voided"    // only of a run
	ContentFilter        Code = "content_filter" // only of a run: its model's provider refused
)

// The type of an error as OpenAI's clients tell errors apart.
const (
	kindInvalid    = "invalid_request_error"
	kindAuth       = "authentication_error"
	kindPermission = "permission_error"
	kindNotFound   = "not_found_error"
	kindCapacity   = "capacity_error"
	KindServer     = "server_error"
	// KindRun is of what failed after its run was let in.
	KindRun = "run_error"
)

// replyRule is what a code is to a client whose request started nothing.
type replyRule struct {
	status int
	kind   string
	retry  retryRule
}

// retryRule is x-should-retry; clients go by the status where it isn't sent.
type retryRule int

const (
	retryByStatus retryRule = iota
	retryYes
	retryNo
)

// rule is the one table of statuses. What a run failed of is none of it: that is
// always a 400 (see RunError).
func (c Code) rule() replyRule {
	switch c {
	case InvalidRequest, NotDurable, Code(outcome.UnsupportedInput):
		return replyRule{http.StatusBadRequest, kindInvalid, retryByStatus}
	case Code(outcome.OverBudget): // the same request can never fit
		return replyRule{http.StatusBadRequest, kindInvalid, retryNo}
	case InvalidAPIKey: // Claude Code repeats a bare 401 for minutes
		return replyRule{http.StatusUnauthorized, kindAuth, retryNo}
	case HostNotAllowed, OriginNotAllowed, ClientNotAllowed, CwdNotAllowed:
		return replyRule{http.StatusForbidden, kindPermission, retryByStatus}
	case NotFound, ModelNotFound, RunNotFound, SessionNotFound, ResponseNotFound:
		return replyRule{http.StatusNotFound, kindNotFound, retryByStatus}
	case MethodNotAllowed:
		return replyRule{http.StatusMethodNotAllowed, kindInvalid, retryByStatus}
	case BodyTimeout:
		return replyRule{http.StatusRequestTimeout, kindInvalid, retryByStatus}
	case RunIDConflict, SessionBusy, ResponseBusy: // SDKs repeat a bare 409, which would not help
		return replyRule{http.StatusConflict, kindInvalid, retryNo}
	case ReplayGone:
		return replyRule{http.StatusGone, kindInvalid, retryByStatus}
	case BodyTooLarge:
		return replyRule{http.StatusRequestEntityTooLarge, kindInvalid, retryByStatus}
	case UnsupportedMediaType:
		return replyRule{http.StatusUnsupportedMediaType, kindInvalid, retryByStatus}
	case UpgradeRequired:
		return replyRule{http.StatusUpgradeRequired, kindInvalid, retryByStatus}
	case Code(outcome.QueueFull), Code(outcome.QueueTimeout):
		return replyRule{http.StatusTooManyRequests, kindCapacity, retryYes}
	case Code(outcome.ClientGone): // for the log line: no client reads it
		return replyRule{499, KindRun, retryByStatus}
	case Code(outcome.ShuttingDown):
		return replyRule{http.StatusServiceUnavailable, kindCapacity, retryYes}
	case Code(outcome.StartFailed): // the host's fault, and nothing ran: a retry does no harm
		return replyRule{http.StatusServiceUnavailable, KindServer, retryByStatus}
	case Code(outcome.CLIMissing): // the operator has to install something
		return replyRule{http.StatusServiceUnavailable, KindServer, retryNo}
	}
	return replyRule{http.StatusInternalServerError, KindServer, retryNo}
}

// header is what is sent; nil is nothing.
func (r retryRule) header() *bool {
	yes := r == retryYes
	if r == retryByStatus {
		return nil
	}
	return &yes
}
