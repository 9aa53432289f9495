package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"

	"penstock/config"
	"penstock/server"
)

// Another Go program can carry the daemon: docs/embedding.md walks through this.
func ExampleRun() {
	state, err := os.MkdirTemp("", "embedded-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(state)
	host, err := config.ReadHost()
	if err != nil {
		fmt.Println(err)
		return
	}
	host.Executable = "" // no demo backend: that is penstock's own program
	c, err := config.Load(config.Sources{Environ: os.Environ(), Host: host, Flags: map[string]string{
		"listen":                 "127.0.0.1:0",
		"state_dir":              state,
		"backends.upper.kind":    "exec",
		"backends.upper.command": "/usr/bin/tr a-z A-Z",
	}})
	if err != nil {
		fmt.Println(err) // every problem at once, each with its place and a hint
		return
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- server.Run(ctx, c, server.Options{Ready: func(addrs []net.Addr) { ready <- addrs[0] }})
	}()
	select {
	case addr := <-ready:
		fmt.Println(ask("http://" + addr.String()))
	case err := <-ended:
		fmt.Println(err)
		return
	}
	stop() // drains, ends every run, verified empty
	fmt.Println("stopped:", <-ended)
	// Output:
	// HELLO FROM THE CAGE
	// stopped: <nil>
}

func ask(url string) string {
	body := []byte(`{"model":"upper","messages":[{"role":"user","content":"hello from the cage"}]}`)
	reply, err := http.Post(url+"/v1/chat/completions", "application/json", bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	defer reply.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var answer struct {
		Choices []struct{ Message struct{ Content string } }
		Error   struct{ Message string }
	}
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil {
		return err.Error()
	}
	if len(answer.Choices) == 0 {
		return answer.Error.Message
	}
	return answer.Choices[0].Message.Content
}
