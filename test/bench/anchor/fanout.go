package anchor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Begin is how long tick waits before its first line, so that all readers are there.
const Begin = 700 * time.Millisecond

// tick reads a number of lines and the time between two, and writes each line when
// it is due, with the time in nanoseconds as its text.
func tick(stdin io.Reader, stdout io.Writer) error {
	var lines int
	var pace time.Duration
	var text string
	if _, err := fmt.Fscan(stdin, &lines, &text); err != nil {
		return fmt.Errorf("tick: lines and pace on stdin: %w", err)
	}
	pace, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("tick: %w", err)
	}
	due := time.Now().Add(Begin)
	for range lines {
		time.Sleep(time.Until(due))
		due = due.Add(pace)
		if _, err := fmt.Fprintln(stdout, time.Now().UnixNano()); err != nil {
			return err
		}
	}
	return nil
}

// chunk has what a chat completion's chunk has.
type chunk struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
}

type choice struct {
	Index  int               `json:"index"`
	Delta  map[string]string `json:"delta"`
	Finish *string           `json:"finish_reason"`
}

// hub hands lines to all readers.
type hub struct {
	mu      sync.Mutex
	readers map[chan string]bool
}

// linesMost is more than a row's lines: no reader makes another one wait.
const linesMost = 20_000

func fanOut() error {
	h := hub{readers: map[chan string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", h.events)
	mux.HandleFunc("POST /start", h.start)
	return serve(mux)
}

func (h *hub) events(w http.ResponseWriter, r *http.Request) {
	lines := make(chan string, linesMost)
	h.mu.Lock()
	h.readers[lines] = true
	h.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := w.(http.Flusher)
	flusher.Flush()
	out := json.NewEncoder(w)
	number := 0
	for line := range lines {
		number++
		fmt.Fprint(w, "id: ", strconv.Itoa(number), "\ndata: ")
		_ = out.Encode(chunk{"chatcmpl-1", "chat.completion.chunk", 1, "tick", []choice{{Delta: map[string]string{"content": line}}}})
		_, _ = io.WriteString(w, "\n")
		if len(lines) == 0 {
			flusher.Flush()
		}
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

// start runs tick, with the request's body on stdin.
func (h *hub) start(w http.ResponseWriter, r *http.Request) {
	input, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	cmd := exec.Command(os.Args[0], "anchor", "tick")
	cmd.Stdin = strings.NewReader(string(input))
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	go func() {
		h.hand(stdout)
		_ = cmd.Wait()
	}()
}

// hand gives out every line of the output, and then lets all readers go.
func (h *hub) hand(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		line := lines.Text() + "\n"
		h.mu.Lock()
		for reader := range h.readers {
			reader <- line
		}
		h.mu.Unlock()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for reader := range h.readers {
		close(reader)
		delete(h.readers, reader)
	}
}
