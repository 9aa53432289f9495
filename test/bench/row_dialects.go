package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

const chatDialect = "chat"

// spoken is one way to ask for a run, and what tells a text of its stream.
type spoken struct{ name, path, body, mark string }

// spokenOf are all dialects, each asking for the same.
func spokenOf(model, prompt string) []spoken {
	body := func(fields map[string]any) string {
		fields["model"], fields["stream"] = model, true
		text, _ := json.Marshal(fields) // strings always can be
		return string(text)
	}
	messages := []map[string]string{{"role": "user", "content": prompt}}
	return []spoken{
		{chatDialect, completions, body(map[string]any{"messages": messages}), `"content":"`},
		{"responses", "/v1/responses", body(map[string]any{"input": prompt, "store": false}), `"type":"response.output_text.delta"`},
		{"messages", "/v1/messages", body(map[string]any{"messages": messages, "max_tokens": 1}), `"type":"text_delta"`},
	}
}

// paces are how a run tells its words: each alone, as a model does; as fast as can be, when
// neighbours share a frame; and as an answer of megabytes, whose text the end of responses'
// stream repeats four times, as its clients want.
var paces = []struct {
	name, pace    string
	events, times int // in one run; runs of a round
	goal          string
}{
	{"one by one", "300us", 5_000, 2, "<= 1.1x"}, {"at once", "0s", 5_000, 5, "<= 1.1x"}, {"long", "0s", 300_000, 1, ""},
}

// dialects asks for the same run in each dialect, and takes the processor time for each text
// that it has told.
func (b *bench) dialects() error {
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command, _ := json.Marshal([]string{self, "anchor", "tick"}) // strings always can be
	daemons, end, err := b.startDaemons(dir, fmt.Sprintf("[backends.tick]\nkind = \"exec\"\ncommand = %s\n", command))
	defer end()
	if err != nil {
		return err
	}
	d := daemons[len(daemons)-1] // an older one may speak chat only
	for _, p := range paces {
		asked := spokenOf("tick", fmt.Sprintf("%d %s\n", p.events, p.pace))
		var figures []*figure
		for _, s := range asked[1:] {
			figures = append(figures, b.figure(fmt.Sprintf("Dialects/%s/%s/events=%d", s.name, p.name, p.events), "us/text", against(chatDialect, p.goal)))
		}
		var all []contender
		for i, s := range asked {
			all = append(all, contender{s.name, func(int) error {
				seconds, err := processorOf(d.pid(), func() error { return s.readTimes(d.url, p.times) })
				if err != nil {
					return err
				}
				each := seconds * 1e6 / float64(p.events*p.times)
				if i > 0 {
					figures[i-1].add(d.name, each)
					return nil
				}
				for _, f := range figures {
					f.add(chatDialect, each)
				}
				return nil
			}})
		}
		if err := inTurn(b.rounds, all); err != nil {
			return err
		}
	}
	return nil
}

func (s spoken) readTimes(url string, times int) error {
	for range times {
		if err := s.read(url); err != nil {
			return err
		}
	}
	return nil
}

// read takes the whole stream; one without text or without its end is an error.
func (s spoken) read(url string) (err error) {
	client := newClient(1)
	defer client.CloseIdleConnections()
	resp, err := post(context.Background(), client, url+s.path, s.body)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	texts, ended := 0, false
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == io.EOF && texts > 0 && ended:
			return nil
		case err == io.EOF:
			return fmt.Errorf("%s: %s: %d texts, ended %v", s.path, resp.Status, texts, ended)
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		case bytes.Contains(line, []byte(s.mark)):
			texts++
		}
		for _, last := range []string{"[DONE]", "event: response.completed", `"message_stop"`} {
			ended = ended || bytes.Contains(line, []byte(last))
		}
	}
}
