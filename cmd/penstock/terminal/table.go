package terminal

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"penstock/client"
	"penstock/internal/bytesize"
)

// Summary is the line about the daemon as a whole, and what works less well.
func (s Terminal) Summary(h client.Health, columns int) string {
	limit := ""
	if h.Queue.MaxRuns > 0 {
		limit = fmt.Sprintf(" of %d", h.Queue.MaxRuns)
	}
	parts := []string{"penstock " + OneLine(h.Version), h.Status, "up " + Age(time.Duration(h.Uptime*float64(time.Second))), fmt.Sprintf("%d%s running", h.Queue.Running, limit)}
	if h.Queue.Waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", h.Queue.Waiting))
	}
	if h.Memory.Budget > 0 {
		memory := "memory "
		if used := h.Memory.Used; used != nil {
			memory += bytesize.Short(float64(*used)) + " used, "
		}
		parts = append(parts, memory+bytesize.Short(float64(h.Memory.Reserved))+" of "+bytesize.Short(float64(h.Memory.Budget))+" reserved")
	}
	for len(parts) > 2 && width(strings.Join(parts, "  ")) > columns {
		parts = parts[:len(parts)-1]
	}
	text := s.Clip(strings.Join(parts, "  "), columns) + "\n"
	if h.Status != "ok" && h.Status != "busy" {
		text = s.Paint(Red, strings.TrimSuffix(text, "\n")) + "\n"
	}
	for _, d := range h.Degraded {
		text += s.Paint(Yellow, s.Clip("! "+OneLine(d), columns)) + "\n"
	}
	return text + "\n"
}

// ShortID is the end of an id of our own making: what tells it from others.
func ShortID(id string) string {
	if strings.HasPrefix(id, "run_") && len(id) == len("run_")+26 {
		return id[len(id)-8:]
	}
	return id
}

// Table draws the runs for a terminal of so many columns.
func (s Terminal) Table(rows []Row, columns int) string {
	if len(rows) == 0 {
		return "no runs\n"
	}
	id := &column{head: "RUN", most: 40, least: 8}
	who := &column{head: "CLIENT", most: 24, least: 6, drop: 3}
	model := &column{head: "MODEL", most: 32, least: 8, drop: 1}
	state := &column{head: "STATE"}
	lasts := &column{head: "TIME", right: true}
	memory := &column{head: "MEMORY"}
	pids := &column{head: "PIDS", drop: 4}
	cpu := &column{head: "CPU", drop: 5}
	note := &column{head: "WHY", rest: true, drop: 6}
	for _, r := range rows {
		id.cells = append(id.cells, cell{text: r.ID, short: ShortID(r.ID)})
		who.cells = append(who.cells, cell{text: r.Client})
		model.cells = append(model.cells, cell{text: r.Model})
		state.cells = append(state.cells, cell{text: r.State, colour: r.colour})
		lasts.cells = append(lasts.cells, cell{text: Age(r.Age)})
		memory.cells = append(memory.cells, cell{text: of(size(r.memory), size(r.memoryMax)), used: r.memory, most: r.memoryMax})
		pids.cells = append(pids.cells, cell{text: of(whole(r.pids), whole(r.pidsMax)), used: r.pids, most: r.pidsMax})
		cpu.cells = append(cpu.cells, r.processors())
		note.cells = append(note.cells, cell{text: r.note, colour: Dim})
	}
	table := []*column{id, who, model, state, lasts, memory, pids, cpu}
	if slices.ContainsFunc(rows, func(r Row) bool { return r.note != "" }) {
		table = append(table, note)
	}
	table, bar := fit(table, columns)
	return s.lines(table, bar)
}

// processors is how many are busy, or how long one was for a run that has ended.
func (r Row) processors() cell {
	if r.ended {
		if r.cpu == nil {
			return cell{text: "-"}
		}
		return cell{text: cores(r.cpu) + "s"}
	}
	return cell{text: of(cores(r.cpu), cores(r.cpuMax)), used: r.cpu, most: r.cpuMax}
}

// PlainTable has the same columns whatever is in it, without blanks inside.
func PlainTable(rows []Row) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, gap, ' ', 0)
	fmt.Fprintln(t, "RUN\tCLIENT\tMODEL\tSTATE\tTIME\tMEMORY\tMEMORY_MAX\tPIDS\tPIDS_MAX\tCPU\tCPU_MAX")
	for _, r := range rows {
		fields := []string{r.ID, r.Client, r.Model, r.State, Age(r.Age), size(r.memory), size(r.memoryMax),
			whole(r.pids), whole(r.pidsMax), cores(r.cpu), cores(r.cpuMax)}
		for i, f := range fields {
			if fields[i] = strings.ReplaceAll(f, " ", "_"); f == "" {
				fields[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(fields, "\t"))
	}
	_ = t.Flush() // a strings.Builder takes everything
	return b.String()
}
