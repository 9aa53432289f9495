package grafana

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
