// Command model runs the scripted model server by itself, for trying a command
// line agent by hand. It prints its URL and serves until SIGINT or SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"penstock/test/model"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("model", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	verbose := flags.Bool("v", false, "print each request as a JSON line when it ends")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := model.New()
	if err := s.Start(*listen); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer s.Close()
	fmt.Fprintln(stdout, s.URL())
	if *verbose {
		go report(ctx, s, stdout)
	}
	<-ctx.Done()
	return 0
}

// report prints the requests in the order in which they came.
func report(ctx context.Context, s *model.Server, out io.Writer) {
	enc := json.NewEncoder(out)
	for i := 0; ; i++ {
		r, err := s.Wait(ctx, func(r model.Request) bool {
			return r.Number == i && r.Outcome != model.Pending
		})
		if err != nil {
			return
		}
		enc.Encode(r) // it has no one to tell when stdout is gone
	}
}
