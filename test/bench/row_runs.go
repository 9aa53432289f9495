package main

import "fmt"

const runsConfig = `
[limits]
memory_max = "64MiB"
[budget]
memory = "90%"
max_runs = 200
[queue]
max_waiting = 1000
[backends.trivial]
kind = "exec"
command = ["/bin/cat"]
`

// Anchors that are servers.
const (
	naive   = "naive"
	goJudge = "go-judge"
	bridge  = "cli-bridge"
)

// What is said where there is no such program.
const (
	noJudge  = "go-judge: not run: GO_JUDGE names no program"
	noBridge = "cli-bridge: not run: CLI_BRIDGE names no program"
)

// trivialRuns measures whole HTTP requests of /bin/cat.
func (b *bench) trivialRuns() error {
	all, err := places()
	for _, p := range all {
		defer p.remove()
	}
	if err != nil {
		return err
	}
	for i, p := range all {
		toNaive := ">= 0.7x"
		if i > 0 {
			toNaive = ">= 0.85x"
		}
		if err := b.runsOn(p, toNaive); err != nil {
			return fmt.Errorf("%s: %w", p.kind, err)
		}
	}
	if len(all) == 1 {
		b.note("on tmpfs: not run: %s is none, or TMPDIR is on one", memory)
	}
	return nil
}

// runsOn measures with state on one file system; the anchors write nothing.
func (b *bench) runsOn(p place, toNaive string) error {
	all, err := b.runTargets(p)
	defer all.end()
	if err != nil {
		return err
	}
	for _, t := range all.targets { // what is done once isn't a run's
		if _, _, err := t.load(4, b.slice/2); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	for _, clients := range []int{1, 16, 64} {
		of := fmt.Sprintf("/fs=%s/clients=%d", p.kind, clients)
		rate := b.figure("Runs"+of, "runs/s", moreIsBetter, against(naive, toNaive), against(goJudge, ">= 1.3x"))
		used := b.figure("RunProcessor"+of, "ms/run", against(naive, ""))
		if err := b.loadInTurn(all.targets, clients, rate, used); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) loadInTurn(targets []target, clients int, rate, used *figure) error {
	var all []contender
	for _, t := range targets {
		all = append(all, contender{t.name, func(int) error {
			perSecond, seconds, err := t.load(clients, b.slice)
			rate.add(t.name, perSecond)
			used.add(t.name, seconds*1000)
			return err
		}})
	}
	return inTurn(b.rounds, all)
}

func (b *bench) runTargets(p place) (*contest, error) {
	ours := target{path: completions, body: chat("trivial", "hello", false), want: "hello"}
	all, err := b.withNaive(p.dir, runsConfig, "/bin/cat", ours, target{path: "/run", body: "hello", want: "hello"})
	if err != nil {
		return all, err
	}
	if b.goJudge == "" {
		b.note(noJudge)
		return all, nil
	}
	judge, err := b.startJudge()
	if err != nil {
		return all, err
	}
	all.enter(goJudge, judge, target{path: "/run", body: judgeBody, want: "Accepted"})
	return all, nil
}

// judgeBody asks go-judge for the same: stdin in, stdout back.
const judgeBody = `{"cmd": [{"args": ["/bin/cat"], "env": ["PATH=/usr/bin:/bin"],
	"files": [{"content": "hello"}, {"name": "stdout", "max": 10240}, {"name": "stderr", "max": 10240}],
	"cpuLimit": 10000000000, "memoryLimit": 67108864, "procLimit": 50}]}`
