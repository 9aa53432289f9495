package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// maxTokens is what the dialect demands.
const maxTokens = 4096

func anthropicClient(r *request, web *http.Client) anthropic.Client {
	opts := []option.RequestOption{option.WithBaseURL(r.BaseURL), option.WithAPIKey(r.APIKey), option.WithHTTPClient(web)}
	for name, value := range r.Headers {
		opts = append(opts, option.WithHeader(name, value))
	}
	for name, value := range r.Extra {
		opts = append(opts, option.WithJSONSet(name, value))
	}
	if r.MaxRetries != nil {
		opts = append(opts, option.WithMaxRetries(*r.MaxRetries))
	}
	return anthropic.NewClient(opts...)
}

func messages(r *request, web *http.Client) client {
	c := anthropicClient(r, web)
	p := anthropic.MessageNewParams{Model: r.Model, MaxTokens: maxTokens}
	if r.System != "" {
		p.System = []anthropic.TextBlockParam{{Text: r.System}}
	}
	if r.Schema != nil {
		p.OutputConfig.Format.Schema = r.Schema
	}
	return func(ctx context.Context, t turn, s *seen) error {
		blocks := []anthropic.ContentBlockParamUnion{anthropic.NewTextBlock(t.Text)}
		if kind, data, ok := strings.Cut(strings.TrimPrefix(t.Image, "data:"), ";base64,"); ok {
			blocks = append(blocks, anthropic.NewImageBlockBase64(kind, data))
		}
		p.Messages = append(p.Messages, anthropic.NewUserMessage(blocks...))
		message, err := answer(ctx, c, p, s, *t.Stream)
		var api *anthropic.Error
		if errors.As(err, &api) {
			s.fail("anthropic.Error", api.StatusCode, api.RawJSON(), err)
		}
		if err != nil {
			return err
		}
		told(s, message)
		p.Messages = append(p.Messages, message.ToParam())
		return nil
	}
}

func answer(ctx context.Context, c anthropic.Client, p anthropic.MessageNewParams, s *seen, streamed bool) (*anthropic.Message, error) {
	if !streamed {
		return c.Messages.New(ctx, p)
	}
	message := new(anthropic.Message)
	stream := c.Messages.NewStreaming(ctx, p)
	defer stream.Close()
	for stream.Next() {
		event := stream.Current()
		kind := event.Type
		if kind == "content_block_delta" {
			kind = event.Delta.Type
		}
		s.event(kind)
		s.delta(event.Delta.Text)
		if err := message.Accumulate(event); err != nil {
			return nil, err
		}
	}
	return message, stream.Err()
}

func told(s *seen, m *anthropic.Message) {
	s.ID, s.Finish, s.Usage = m.ID, string(m.StopReason), raw(m.Usage.RawJSON())
	s.Text = ""
	calls := map[string]int{}
	for _, block := range m.Content {
		switch block.Type {
		case "text":
			s.Text += block.Text
		case "thinking":
			s.Reasoning += block.Thinking
		default: // the SDK has no name for them in this API
			var mcp struct {
				Type    string          `json:"type"`
				ID      string          `json:"id"`
				Name    string          `json:"name"`
				Input   json.RawMessage `json:"input"`
				Of      string          `json:"tool_use_id"`
				Content json.RawMessage `json:"content"`
				IsError json.RawMessage `json:"is_error"`
			}
			if json.Unmarshal([]byte(block.RawJSON()), &mcp) != nil {
				continue
			}
			switch i, known := calls[mcp.Of]; {
			case mcp.Type == "mcp_tool_use":
				calls[mcp.ID] = len(s.Tools)
				s.Tools = append(s.Tools, tool{Name: mcp.Name, Input: mcp.Input})
			case mcp.Type == "mcp_tool_result" && known:
				s.Tools[i].Output, s.Tools[i].Error = mcp.Content, mcp.IsError
			}
		}
	}
}
