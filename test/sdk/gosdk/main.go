// Command gosdk is a stock openai-go client for the end-to-end tests. It streams
// one chat completion.
//
// stdin, one JSON object: baseURL, apiKey (default "none"), model, messages,
// extra (more body fields), headers, max_retries, abort_after_ms.
// stdout: {"t":<ms since start>,"chunk":{...}} for each chunk, and at last
// {"text","finish_reason","usage","chunks","error":null|{code,type,message,status}}.
// The exit code is 0 whenever that last line was written.
//
// It is a module of its own so that the SDK is no dependency of the daemon.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

type arguments struct {
	BaseURL    string                                   `json:"baseURL"`
	APIKey     string                                   `json:"apiKey"`
	Model      string                                   `json:"model"`
	Messages   []openai.ChatCompletionMessageParamUnion `json:"messages"`
	Extra      map[string]any                           `json:"extra"`
	Headers    map[string]string                        `json:"headers"`
	MaxRetries *int                                     `json:"max_retries"`
	AbortAfter *int                                     `json:"abort_after_ms"`
}

type chunkLine struct {
	T     int64           `json:"t"`
	Chunk json.RawMessage `json:"chunk"`
}

type result struct {
	Text         string          `json:"text"`
	FinishReason *string         `json:"finish_reason"`
	Usage        json.RawMessage `json:"usage"`
	Chunks       int             `json:"chunks"`
	Error        *failure        `json:"error"`
}

type failure struct {
	Code    string `json:"code"`
	Type    string `json:"type"`
	Message string `json:"message"`
	Status  *int   `json:"status"`
}

func main() {
	os.Exit(run(os.Stdin, os.Stdout, os.Stderr))
}

func run(stdin io.Reader, stdout, stderr io.Writer) int {
	args := arguments{APIKey: "none"}
	if err := json.NewDecoder(stdin).Decode(&args); err != nil {
		fmt.Fprintln(stderr, "gosdk: read arguments:", err)
		return 2
	}
	ctx := context.Background()
	if args.AbortAfter != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*args.AbortAfter)*time.Millisecond)
		defer cancel()
	}
	out := json.NewEncoder(stdout)
	if err := out.Encode(stream(ctx, args, out)); err != nil {
		fmt.Fprintln(stderr, "gosdk: write the result:", err)
		return 1
	}
	return 0
}

func options(args arguments) []option.RequestOption {
	opts := []option.RequestOption{option.WithBaseURL(args.BaseURL), option.WithAPIKey(args.APIKey)}
	for name, value := range args.Headers {
		opts = append(opts, option.WithHeader(name, value))
	}
	for name, value := range args.Extra {
		opts = append(opts, option.WithJSONSet(name, value))
	}
	if args.MaxRetries != nil {
		opts = append(opts, option.WithMaxRetries(*args.MaxRetries))
	}
	return opts
}

func stream(ctx context.Context, args arguments, out *json.Encoder) result {
	start := time.Now()
	client := openai.NewClient(options(args)...)
	s := client.Chat.Completions.NewStreaming(ctx, openai.ChatCompletionNewParams{
		Model:    args.Model,
		Messages: args.Messages,
	})
	defer s.Close()
	var r result
	for s.Next() {
		chunk := s.Current()
		r.add(chunk)
		line := chunkLine{time.Since(start).Milliseconds(), json.RawMessage(chunk.RawJSON())}
		if err := out.Encode(line); err != nil {
			r.Error = &failure{Message: err.Error()}
			return r
		}
	}
	r.Error = shape(s.Err())
	return r
}

func (r *result) add(chunk openai.ChatCompletionChunk) {
	r.Chunks++
	if len(chunk.Choices) > 0 {
		r.Text += chunk.Choices[0].Delta.Content
		if reason := chunk.Choices[0].FinishReason; reason != "" {
			r.FinishReason = &reason
		}
	}
	if chunk.JSON.Usage.Valid() {
		r.Usage = json.RawMessage(chunk.Usage.RawJSON())
	}
}

// shape gives what a program can know about err. An error inside the stream is
// no *openai.Error: its code is only in the message.
func shape(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Message: err.Error()}
	var api *openai.Error
	if errors.As(err, &api) {
		f.Code, f.Type, f.Message, f.Status = api.Code, api.Type, api.Message, &api.StatusCode
	}
	return f
}
