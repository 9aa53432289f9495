package grafana

const ofBoth = ofBackend + `,client=~"$client"`

// ends is why runs ended, whose they were, and what was refused before it began.
func ends() Dashboard {
	return page("penstock-ends", "Penstock / Why runs end",
		"Why runs ended, whose they were, and which requests were refused before anything was started.",
		where(backendVariable(), clientVariable()),
		row{"In the time shown", endShares()},
		row{"Over time", endGraphs()},
		row{"What was left, what was refused", endRest()},
	)
}

func endShares() []Panel {
	ended := within(`penstock_runs_finished_total{` + ofBoth + `}`)
	return []Panel{
		shares(8, "By cause", "Each cause's part of the runs that ended. completed: the CLI said so; cli_error: its own error or exit status; killed: a signal nobody accounts for; lost: nobody watched.",
			unit("short").whole().byCause(), query{`sum by (cause) (` + ended + `)`, "{{cause}}"}),
		matrix(8, "Backend and cause", "Runs that ended, by backend and cause: tells whether it is one agent or all.",
			unit("short").whole(), "backend", "cause", query{`sum by (backend, cause) (` + ended + `)`, ""}),
		matrix(8, "Client and cause", "Runs that ended, by client and cause: tells whether it is one caller or all.",
			unit("short").whole(), "client", "cause", query{`sum by (client, cause) (` + ended + `)`, ""}),
	}
}

func endGraphs() []Panel {
	of := func(title, description, cause string) Panel {
		return graph(8, title, description, unit("cpm").bar(),
			query{perMinute("backend, cause", `penstock_runs_finished_total{`+ofBoth+`,cause=~"`+cause+`"}`), "{{backend}}: {{cause}}"})
	}
	return []Panel{
		graph(16, "Ends, by cause", "Runs that ended per minute.",
			unit("cpm").bar().byCause(), query{perMinute("cause", `penstock_runs_finished_total{`+ofBoth+`}`), "{{cause}}"}),
		graph(8, "Failed", "Part of the runs that ended for another cause than completed, cancelled and client_gone.",
			unit("percentunit").upTo(1), query{`sum(rate(penstock_runs_finished_total{` + ofBoth + `,` + failure + `}[$__rate_interval])) / sum(rate(penstock_runs_finished_total{` + ofBoth + `}[$__rate_interval]))`, "failed"}),
		of("A limit was reached", "memory_limit, pids_limit, output_limit: the run needed more than its cap. Runbook PenstockRunsOutOfMemory.", "memory_limit|pids_limit|output_limit"),
		of("It took too long", "timeout is the deadline; stalled is no output, processor time and I/O for stall_timeout.", "timeout|stalled"),
		of("The agent failed", "cli_error, the provider's errors, killed, lost: the message is in the run's record. Runbook PenstockRunsFailing.", "cli_error|provider_.*|killed|lost"),
		of("Somebody ended it", "cancelled by the route, client_gone by hanging up, shutting_down by the daemon's stop.", "cancelled|client_gone|shutting_down"),
		graph(16, "Duration, p95, by cause", "How long runs had taken when they ended: timeouts stand at the deadline, a CLI that fails at once near 0.",
			unit("s").logarithmic(), quantiles("cause", "{{cause}}", "penstock_run_duration_seconds", ofBackend)[1:]...),
	}
}

func endRest() []Panel {
	return []Panel{
		graph(6, "Processes that had to be ended", "Per minute. run_end: still there when their leader had gone. boot: left by an earlier daemon that was killed.",
			unit("cpm").bar(), query{perMinute("reason", `penstock_processes_reaped_total{@}`), "{{reason}}"}),
		graph(6, "Refused, by reason", "Per minute. queue_full and queue_timeout: too few slots. over_budget: a limit above the budget. shutting_down: the daemon drains.",
			unit("cpm").bar(), query{perMinute("reason", `penstock_admission_refused_total{@,client=~"$client"}`), "{{reason}}"}),
		graph(6, "Starts that failed", "Per minute, of runs that never began. cli_missing: the program is gone. start_failed: the host or the cage refused. Runbook PenstockRunsNotStarting.",
			unit("cpm").bar(), query{perMinute("backend, cause", `penstock_run_starts_failed_total{`+ofBackend+`}`), "{{backend}}: {{cause}}"}),
		graph(6, "Replies to chat completions", "Per second, by status. 400: failed after the start, or a request that is wrong (the runs' ends tell which); 429, 503: refused.",
			unit("reqps").stack(), query{perSecond("code", `penstock_http_requests_total{@,route="/v1/chat/completions"}`), "{{code}}"}),
	}
}
