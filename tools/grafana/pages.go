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
		of("The agent failed", "cli_error, the provider's errors, an answer that breaks its schema, killed, lost: the message is in the run's record. Runbook PenstockRunsFailing.", "cli_error|provider_.*|invalid_output|unsupported_input|killed|lost"),
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
		graph(6, "Replies to chats, responses and messages", "Per second, by status. 400, 406: failed after the start, or a request that is wrong (the runs' ends tell which); 429, 503, 529: refused.",
			unit("reqps").stack(), query{perSecond("code", `penstock_http_requests_total{@,method="POST",route=~"/v1/(chat/completions|responses|messages)"}`), "{{code}}"}),
	}
}

const ofBackend = `@,backend=~"$backend"`

// backend is one agent CLI: what it does, and what it needs of which cap.
func backend() Dashboard {
	return page("penstock-backend", "Penstock / Backend",
		"One agent CLI: what it does, how long it takes, and what it needs of each cap.",
		where(backendVariable()),
		row{"Now, and in the time shown", backendFigures()},
		row{"Runs", backendRuns()},
		row{"Memory", backendMemory()},
		row{"Processes, processor, disk", backendUse()},
	)
}

func backendFigures() []Panel {
	count := func(title, description string, f field, counter string) Panel {
		return number(4, title, description, f.whole(), query{`sum(` + within(counter) + `)`, "runs"})
	}
	return []Panel{
		number(4, "Live", "Runs of the backend that are live.", unit("short"), query{`sum(penstock_runs_active{` + ofBackend + `})`, "live"}),
		number(4, "Stalled", "Live runs without output, processor time and I/O.", unit("short").yellow(1), query{`sum(penstock_runs_stalled{` + ofBackend + `})`, "stalled"}),
		count("Ended", "Runs that ended in the time shown.", unit("short"), `penstock_runs_finished_total{`+ofBackend+`}`),
		count("Failed", "Those that ended for another cause than completed, cancelled and client_gone.", unit("short").yellow(1), `penstock_runs_finished_total{`+ofBackend+`,`+failure+`}`),
		count("Over memory_max", "Runs ended because they needed more memory than their limit.", unit("short").red(1), `penstock_runs_finished_total{`+ofBackend+`,cause="memory_limit"}`),
		count("Over pids_max", "Runs that failed after a fork was refused at their limit.", unit("short").red(1), `penstock_runs_finished_total{`+ofBackend+`,cause="pids_limit"}`),
	}
}

func backendRuns() []Panel {
	return []Panel{
		graph(8, "Live runs", "Runs that are live; those that stall are drawn as a line.",
			unit("short"),
			query{`sum by (backend) (penstock_runs_active{` + ofBackend + `})`, "{{backend}}"},
			query{`sum by (backend) (penstock_runs_stalled{` + ofBackend + `})`, "{{backend}} stalled"}),
		graph(8, "Starts, by client", "Runs started per second, by the client that asked.",
			unit("reqps").stack(), query{perSecond("client", `penstock_runs_started_total{`+ofBackend+`}`), "{{client}}"}),
		graph(8, "Ends, by cause", "Runs that ended per minute, by the cause of their end.",
			unit("cpm").bar().byCause(), query{perMinute("cause", `penstock_runs_finished_total{`+ofBackend+`}`), "{{cause}}"}),
		graph(12, "Duration of completed runs", "From the start until the group was gone, of runs that said they were done. Choose limits.timeout well above the p95.",
			unit("s").logarithmic(), quantiles("backend", "{{backend}}", "penstock_run_duration_seconds", ofBackend+`,cause="completed"`)...),
		graph(12, "Time to first output", "From the process's start to its first event: the CLI's own start and the model's first token.",
			unit("s"), quantiles("backend", "{{backend}}", "penstock_run_time_to_first_output_seconds", ofBackend)...),
	}
}

func backendMemory() []Panel {
	return []Panel{
		graph(8, "Memory of live runs", "Sum over the live runs' groups.",
			unit("bytes"), query{`sum by (backend) (penstock_cgroup_memory_bytes{` + ofBackend + `})`, "{{backend}}"}),
		graph(8, "Peak of a run", "Peak memory of ended runs. Choose memory_max a good deal above the p95.",
			unit("bytes"), quantiles("backend", "{{backend}}", "penstock_run_memory_peak_bytes", ofBackend)...),
		graph(8, "Peak, part of the limit", "Peak memory of ended runs as a part of memory_max. Files that were read count and can be reclaimed, so 100 % alone is no trouble.",
			unit("percentunit").upTo(1), quantiles("backend", "{{backend}}", "penstock_run_memory_peak_ratio", ofBackend)...),
	}
}

func backendUse() []Panel {
	return []Panel{
		graph(8, "Tasks of live runs", "Processes and threads in the live runs' groups.",
			unit("short"), query{`sum by (backend) (penstock_cgroup_pids{` + ofBackend + `})`, "{{backend}}"}),
		graph(8, "Peak tasks of a run", "Peak number of processes and threads of ended runs. Choose pids_max above it; below 256 some CLIs abort or hang.",
			unit("short").logarithmic(), quantiles("backend", "{{backend}}", "penstock_run_pids_peak", ofBackend)...),
		graph(8, "Processor time", "Processors' worth of time that ended runs had taken, told when they end.",
			unit("short").stack(), query{perSecond("backend, mode", `penstock_run_cpu_seconds_total{`+ofBackend+`}`), "{{backend}} {{mode}}"}),
		graph(8, "OOM kills", "Processes the kernel killed in runs' groups for want of memory, per minute, told when the run ends.",
			unit("cpm").bar(), query{perMinute("backend", `penstock_runs_oom_kills_total{`+ofBackend+`}`), "{{backend}}"}),
		graph(8, "Forks refused", "Forks the kernel refused at pids_max, per minute, told when the run ends; it may have coped.",
			unit("cpm").bar(), query{perMinute("backend", `penstock_runs_pids_refused_total{`+ofBackend+`}`), "{{backend}}"}),
		graph(8, "Disk", "Bytes that ended runs had read from and written to block devices.",
			unit("Bps"), query{perSecond("backend, op", `penstock_run_io_bytes_total{`+ofBackend+`}`), "{{backend}} {{op}}"}),
	}
}

// overview answers, from top to bottom: is it healthy, what runs, how close to
// the caps, who waits, and how is the daemon itself.
func overview() Dashboard {
	return page("penstock-overview", "Penstock / Overview",
		"Is it healthy, what runs, how close to the caps, who waits.",
		where(),
		row{"Is it healthy", health()},
		row{"What runs", running()},
		row{"How close to the caps", caps()},
		row{"Who waits", waiting()},
		row{"The daemon itself", daemon()},
	)
}

func health() []Panel {
	return []Panel{
		number(3, "Status", "What /health says of the worst daemon. Wedged, not ready: the runbooks of those names.",
			unit("short").yellow(1).red(2).say(map[string]string{"0": "ready", "1": "not ready", "2": "wedged", "3": "wedged"}),
			query{`2 * max(penstock_wedged{@}) + 1 - min(penstock_ready{@})`, "status"}),
		number(3, "Answers", "Daemons whose metrics Prometheus could read at the last scrape, as a part of all. Below 100 %: runbook PenstockDown.",
			unit("percentunit").upTo(1).whole(), query{`avg(up{@} and on (job, instance) present_over_time(penstock_build_info{@}[$__range]))`, "up"}),
		number(3, "Up for", "Since the youngest daemon was started. A short time that nobody asked for: runbook PenstockRestarting.",
			unit("s").whole(), query{`min(time() - (process_start_time_seconds{@} and on (job, instance) penstock_build_info))`, "up for"}),
		number(3, "Groups left", "Groups of ended runs that could not be removed yet, so their slots are not given away. Above 0: runbook PenstockGroupsLeaked.",
			unit("short").red(1), query{`sum(penstock_groups_leaked{@})`, "leaked"}),
		number(3, "Failed", "Part of the runs that ended in the time shown for another cause than completed, cancelled and client_gone.",
			unit("percentunit").yellow(0.1).red(0.5), query{`sum(` + within(`penstock_runs_finished_total{@,`+failure+`}`) + `) / (sum(` + within(`penstock_runs_finished_total{@}`) + `) > 0)`, "failed"}),
		number(3, "Refused", "Requests refused at admission in the time shown: nothing was started for them.",
			unit("short").yellow(1).whole(), query{`sum(` + within(`penstock_admission_refused_total{@}`) + `)`, "refused"}),
		number(6, "Limits are held by", "Who enforces each limit: the kernel, or the daemon's own watch, which samples and so reacts later. Runbook PenstockLimitsNotKernelHeld.",
			unit("short").named(), query{`max by (resource, by) (penstock_isolation_enforced{@})`, "{{resource}}: {{by}}"}),
	}
}

func running() []Panel {
	return []Panel{
		graph(8, "Live runs", "Runs that are live, by backend, and how many of them have shown no output, processor time and I/O for 30 s.",
			unit("short").stack().bound("stalled"),
			query{`sum by (backend) (penstock_runs_active{@})`, "{{backend}}"},
			query{`sum(penstock_runs_stalled{@})`, "stalled"}),
		graph(8, "Ends, by cause", "Runs that ended per minute, by the cause of their end. What each means is on the page Why runs end.",
			unit("cpm").bar().byCause(), query{perMinute("cause", `penstock_runs_finished_total{@}`), "{{cause}}"}),
		graph(8, "Time to first output", "From the process's start to its first event: the CLI's own start and the model's first token.",
			unit("s"), quantiles("", "", "penstock_run_time_to_first_output_seconds", "@")...),
		graph(8, "Starts, by client", "Runs started per second, by the client that asked.",
			unit("reqps").stack(), query{perSecond("client", `penstock_runs_started_total{@}`), "{{client}}"}),
		graph(8, "Duration", "From a run's start until its group was gone, all backends and causes.",
			unit("s").logarithmic(), quantiles("", "", "penstock_run_duration_seconds", "@")...),
		graph(8, "Streams", "Event streams being written now; a stream that waits in the queue is one of them.",
			unit("short"), query{`sum(penstock_streams_open{@})`, "open"}),
	}
}

func caps() []Panel {
	return []Panel{
		graph(8, "Slots", "Runs that hold a slot, and how many may. A slot is free again when the run's group is gone.",
			unit("short").bound("at most"),
			query{`sum(penstock_reserved_runs{@})`, "taken"},
			query{`sum(penstock_budget_runs{@})`, "at most"}),
		graph(8, "Memory: used, reserved, budget", "What all runs use now, what their limits reserve, and the budget. A run starts only if its reservation fits below the budget.",
			unit("bytes").bound("budget"),
			query{`sum(penstock_cgroup_tree_memory_bytes{@})`, "used"},
			query{`sum(penstock_reserved_memory_bytes{@})`, "reserved"},
			query{`sum(penstock_budget_memory_bytes{@})`, "budget"}),
		graph(8, "Peak memory of ended runs, part of their limit", "How close runs came to memory_max. A p95 near 100 % is a limit that will kill; one below 25 % is memory nobody else could use.",
			unit("percentunit").upTo(1), quantiles("backend", "{{backend}}", "penstock_run_memory_peak_ratio", "@")...),
		graph(8, "Memory of live runs", "Memory of the live runs' groups, by backend.",
			unit("bytes").stack(), query{`sum by (backend) (penstock_cgroup_memory_bytes{@})`, "{{backend}}"}),
		graph(8, "Tasks of live runs", "Processes and threads in the live runs' groups, by backend; pids_max holds each run.",
			unit("short").stack(), query{`sum by (backend) (penstock_cgroup_pids{@})`, "{{backend}}"}),
		graph(8, "Pressure", "Part of the last 10 s in which some task of the runs waited for a processor or for memory. Memory pressure holds new starts back.",
			unit("percentunit").upTo(1),
			query{`max(penstock_cgroup_cpu_pressure_ratio{@})`, "processor"},
			query{`max(penstock_cgroup_memory_pressure_ratio{@})`, "memory"}),
	}
}

func waiting() []Panel {
	return []Panel{
		graph(6, "Waiting", "Requests that wait for a slot, by client.",
			unit("short").stack(), query{`sum by (client) (penstock_queue_waiting{@})`, "{{client}}"}),
		graph(6, "Oldest wait", "How long the request that waits longest has waited. At queue.max_wait it is refused.",
			unit("s"), query{`max by (instance) (penstock_queue_oldest_wait_seconds{@})`, "{{instance}}"}),
		graph(6, "Time to a slot, p95", "How long admitted requests had waited, by client. Those still waiting are not in it.",
			unit("s"), quantiles("client", "{{client}}", "penstock_queue_wait_seconds", "@")[1:]...),
		graph(6, "Refusals", "Requests refused per minute, by client and reason; the client was told when to come again.",
			unit("cpm").bar(), query{perMinute("client, reason", `penstock_admission_refused_total{@}`), "{{client}}: {{reason}}"}),
	}
}

func daemon() []Panel {
	return []Panel{
		graph(6, "Memory of the daemon", "Resident memory of the daemon's own process, without its runs.",
			unit("bytes"), query{`process_resident_memory_bytes{@} and on (job, instance) penstock_build_info`, "{{instance}}"}),
		graph(6, "Processor time of the daemon", "Processors' worth of time that the daemon's own process takes, without its runs.",
			unit("percentunit"), query{`rate(process_cpu_seconds_total{@}[$__rate_interval]) and on (job, instance) penstock_build_info`, "{{instance}}"}),
		graph(6, "Replies, by status", "HTTP replies per second, by status. 400 is a run that failed after it was started or a request that is wrong, 429 a refusal.",
			unit("reqps").stack(), query{perSecond("code", `penstock_http_requests_total{@}`), "{{code}}"}),
		graph(6, "Cost of the cage, p95", "What a run costs beside itself: from making its group to the process in it, and from the kill to the group's removal.",
			unit("s"),
			query{quantiles("", "", "penstock_run_spawn_seconds", "@")[1].expr, "start"},
			query{quantiles("", "", "penstock_run_teardown_seconds", "@")[1].expr, "end"}),
		graph(6, "Open files, goroutines", "Of the daemon's own process. One that only ever rises is a leak. Few files left: runbook PenstockFewFilesLeft.",
			unit("short"),
			query{`sum(process_open_fds{@} and on (job, instance) penstock_build_info)`, "open files"},
			query{`sum(go_goroutines{@} and on (job, instance) penstock_build_info)`, "goroutines"}),
		graph(6, "Time of /health, p95", "From the request to the end of its reply. It answers from memory: tens of milliseconds are a host out of processors.",
			unit("s"), quantiles("", "", "penstock_http_request_duration_seconds", `@,route="/health"`)[1]),
		graph(6, "Bytes streamed", "Bytes written per second to event streams.",
			unit("Bps"), query{`sum(rate(penstock_stream_bytes_total{@}[$__rate_interval]))`, "bytes"}),
		graph(6, "Removed groups the kernel keeps", "Groups that are removed and still held for pages charged to them. Each costs some kernel memory; they go when it is short.",
			unit("short"), query{`sum(penstock_cgroup_tree_dying_groups{@})`, "dying"}),
	}
}
