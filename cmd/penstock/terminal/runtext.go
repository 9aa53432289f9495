package terminal

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock/cgroup"
	"penstock/client"
	"penstock/internal/bytesize"
)

// capsOf are a run's limits; nil is none.
func capsOf(r client.Run) (memory, pids *uint64, cores *float64) {
	l := r.Limits
	if l == nil {
		return nil, nil, nil
	}
	if l.Memory != nil {
		memory = positive(l.Memory.Limit)
	}
	if l.Pids != nil {
		pids = positive(l.Pids.Limit)
	}
	if l.CPU != nil && l.CPU.Quota != nil && l.CPU.Period != nil && *l.CPU.Period > 0 && *l.CPU.Quota > 0 {
		n := float64(*l.CPU.Quota) / float64(*l.CPU.Period)
		cores = &n
	}
	return memory, pids, cores
}

func positive(n *int64) *uint64 {
	if n == nil || *n <= 0 {
		return nil
	}
	u := uint64(*n)
	return &u
}

// Queued says what a queued request waits for.
func Queued(q *client.Queue) string {
	switch {
	case q == nil:
		return "queued"
	case q.For == "session":
		return "queued for its session's earlier turn"
	case q.Position > 0:
		return fmt.Sprintf("queued, position %d", q.Position)
	}
	return "queued"
}

// receiptParts is what a receipt tells, in words.
func receiptParts(r *cgroup.Receipt) []string {
	if r == nil {
		return nil
	}
	var out []string
	if r.MemoryPeakBytes != nil {
		out = append(out, memoryOf(*r.MemoryPeakBytes, r.MemoryMaxBytes))
	}
	if r.PidsPeak != nil {
		out = append(out, pidsOf(*r.PidsPeak, r.PidsMax))
	}
	if r.CPUUserUsec != nil && r.CPUSystemUsec != nil {
		out = append(out, "cpu "+seconds(time.Duration(*r.CPUUserUsec+*r.CPUSystemUsec)*time.Microsecond))
	}
	if r.IOReadBytes != nil && r.IOWriteBytes != nil && *r.IOReadBytes+*r.IOWriteBytes > 0 {
		out = append(out, fmt.Sprintf("io %s read, %s written", bytesize.Human(int64(*r.IOReadBytes)), bytesize.Human(int64(*r.IOWriteBytes))))
	}
	return out
}

func memoryOf(used uint64, most *uint64) string {
	if most == nil {
		return "memory " + bytesize.Human(int64(used))
	}
	return fmt.Sprintf("memory %s of %s", bytesize.Human(int64(used)), bytesize.Human(int64(*most)))
}

func pidsOf(used uint64, most *uint64) string {
	if most == nil {
		return fmt.Sprintf("%d pids", used)
	}
	return fmt.Sprintf("%d of %d pids", used, *most)
}

// Cost is what an answer cost, in words.
func Cost(usage, price json.RawMessage) []string {
	var out []string
	var u struct {
		Prompt     *int64 `json:"prompt_tokens"`
		Completion *int64 `json:"completion_tokens"`
	}
	if len(usage) > 0 && json.Unmarshal(usage, &u) == nil && u.Prompt != nil && u.Completion != nil {
		out = append(out, fmt.Sprintf("%d + %d tokens", *u.Prompt, *u.Completion))
	}
	var c struct {
		USD *float64 `json:"usd"`
	}
	if len(price) > 0 && json.Unmarshal(price, &c) == nil && c.USD != nil {
		out = append(out, "$"+strconv.FormatFloat(*c.USD, 'f', 4, 64))
	}
	return out
}

// Ending is the last line about a run: why and when it ended, and what it needed.
func Ending(r client.Run, more ...string) string {
	first := string(r.Cause)
	if first == "" {
		first = string(r.State)
	}
	if d, ok := r.Lifetime(); ok {
		first += " after " + seconds(d)
	}
	parts := append([]string{first}, receiptParts(r.Receipt)...)
	return strings.Join(append(parts, more...), ", ")
}

// Living is how a run is that has not ended.
func Living(r client.Run) string {
	parts := []string{string(r.State)}
	if r.Started != nil {
		parts[0] += " for " + seconds(time.Since(*r.Started))
	}
	if u := r.Usage; u != nil {
		if u.Stalled {
			parts = append(parts, "stalled")
		}
		memory, pids, _ := capsOf(r)
		if u.Memory != nil {
			parts = append(parts, memoryOf(*u.Memory, memory))
		}
		if u.Pids != nil {
			parts = append(parts, pidsOf(*u.Pids, pids))
		}
		if u.CPUCores != nil {
			parts = append(parts, fmt.Sprintf("cpu %.1f", *u.CPUCores))
		}
	}
	return strings.Join(parts, ", ")
}
