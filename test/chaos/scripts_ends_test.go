package chaos

import (
	"math/rand/v2"
)

// endedScripts are ended by somebody else: by a signal, by their client, by a
// deadline, by the daemon's own watchfulness.
var endedScripts = []script{
	{"kill-leader", 6, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: hold(r), act: act{asleep, killLeader}, want: killed()}
	}},
	{"kill-all", 4, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: hold(r), act: act{asleep, killAll}, want: killed()}
	}},
	{"kill-group", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: hold(r), act: act{asleep, killGroup}, want: killed()}
	}},
	{"kill-child", 5, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "sleep 300 & wait $!; echo status $?", act: act{parent, killChild},
			want: end{cause: "completed", text: exactly("status 137\n")}}
	}},
	{"gone-running", 8, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: hold(r), act: act{asleep, leave}, want: gone()}
	}},
	{"gone-before-the-first-byte", 5, nothing, func(r *rand.Rand, _ *world) plan {
		children, _ := family(r)
		return plan{backend: "sh", prompt: children + "exec sleep 300", act: act{asleep, leave}, want: gone()}
	}},
	{"gone-any-time", 5, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "exec sleep 300", act: act{sent, leaveSoon(r)}, want: end{cause: "client_gone", either: true, exit: -1}}
	}},
	{"gone-queued", 4, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "echo never", queued: true, act: act{waiting, leave}, want: end{cause: "client_gone", unborn: true}}
	}},
	{"durable", 4, nothing, func(r *rand.Rand, _ *world) plan {
		text := words(r, 5)
		// Its client leaves, the child it waits for is killed, and it answers a client that asks again.
		return plan{backend: "sh", durable: true, prompt: "sleep 300 & wait $!; echo " + text, act: act{parent, detach},
			want: end{cause: "completed", text: exactly(text + "\n")}}
	}},
	{"cancel-running", 5, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: hold(r), act: act{asleep, cancel}, want: end{cause: "cancelled", signal: "SIGKILL", text: exactly("ready\n")}}
	}},
	{"cancel-any-time", 4, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", durable: true, prompt: "exec sleep 300", act: act{listed, cancel}, want: end{cause: "cancelled", either: true, exit: -1}}
	}},
	{"cancel-queued", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "echo never", queued: true, act: act{waiting, cancel}, want: end{cause: "cancelled", unborn: true, status: 400}}
	}},
	{"deadline-running", 6, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: hold(r), extra: map[string]any{"timeout_ms": 3000 + r.IntN(2000)}, want: end{cause: "timeout", signal: "SIGKILL", text: matching("^(ready\n)?$"), certain: true}}
	}},
	{"deadline-demo", 2, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "demo", prompt: "/daemonize /ignoreterm /sleep 300", extra: map[string]any{"timeout_ms": 4000}, want: end{cause: "timeout", signal: "SIGKILL"}}
	}},
	{"deadline-queued", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "sh", prompt: "echo never", queued: true, extra: map[string]any{"timeout_ms": 100 + r.IntN(500)},
			want: end{cause: "queue_timeout", unborn: true, status: 429}}
	}},
	{"stalled", 3, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "still", prompt: hold(r), want: end{cause: "stalled", signal: "SIGKILL", text: exactly("ready\n"), certain: true}}
	}},
	{"busy-not-stalled", 1, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "busy", prompt: "/cpu 4 done", want: end{cause: "completed", exit: -1, text: exactly("done ")}}
	}},
	{"busy-child-not-stalled", 1, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "still", prompt: "timeout 4 sh -c 'while :; do :; done'\necho done", want: end{cause: "completed", text: exactly("done\n")}}
	}},
	{"slow-not-stalled", 2, nothing, func(r *rand.Rand, _ *world) plan {
		return plan{backend: "still", prompt: "for i in 1 2 3 4 5 6; do echo $i; sleep 0.8; done", want: end{cause: "completed", text: exactly("1\n2\n3\n4\n5\n6\n")}}
	}},
}

func killed() end {
	return end{cause: "killed", signal: "SIGKILL", text: exactly("ready\n"), says: []string{"SIGKILL"}}
}
func gone() end { return end{cause: "client_gone", signal: "SIGKILL"} }
