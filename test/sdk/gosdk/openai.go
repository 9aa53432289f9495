package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/responses"
)

const answerSchema = "answer" // the name that both dialects want for a schema

func openaiClient(r *request, web *http.Client) openai.Client {
	opts := []option.RequestOption{option.WithBaseURL(r.BaseURL + "/v1"), option.WithAPIKey(r.APIKey), option.WithHTTPClient(web)}
	for name, value := range r.Headers {
		opts = append(opts, option.WithHeader(name, value))
	}
	for name, value := range r.Extra {
		opts = append(opts, option.WithJSONSet(name, value))
	}
	if r.MaxRetries != nil {
		opts = append(opts, option.WithMaxRetries(*r.MaxRetries))
	}
	return openai.NewClient(opts...)
}

// failOpenAI keeps what the SDK tells of an error: of a reply, or of an event in a stream.
func failOpenAI(s *seen, err error) error {
	var api *openai.Error
	var inStream *ssestream.StreamError
	switch {
	case errors.As(err, &api):
		s.fail("openai.Error", api.StatusCode, api.RawJSON(), err)
	case errors.As(err, &inStream):
		s.fail("ssestream.StreamError", 0, string(inStream.Event.Data), err)
	}
	return err
}

func chat(r *request, web *http.Client) client {
	c := openaiClient(r, web)
	p := openai.ChatCompletionNewParams{Model: r.Model}
	if r.System != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(r.System))
	}
	if r.Schema != nil {
		p.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{
			JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{Name: answerSchema, Schema: r.Schema},
		}
	}
	return func(ctx context.Context, t turn, s *seen) error {
		said := openai.UserMessage(t.Text)
		if t.Image != "" {
			image := openai.ChatCompletionContentPartImageImageURLParam{URL: t.Image}
			said = openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{openai.TextContentPart(t.Text), openai.ImageContentPart(image)})
		}
		p.Messages = append(p.Messages, said)
		ask := chatWhole
		if *t.Stream {
			ask = chatStream
		}
		if err := ask(ctx, c, p, s); err != nil {
			return failOpenAI(s, err)
		}
		p.Messages = append(p.Messages, openai.AssistantMessage(s.Text))
		return nil
	}
}

func chatWhole(ctx context.Context, c openai.Client, p openai.ChatCompletionNewParams, s *seen) error {
	done, err := c.Chat.Completions.New(ctx, p)
	if err != nil {
		return err
	}
	s.ID, s.Usage = done.ID, raw(done.Usage.RawJSON())
	if len(done.Choices) > 0 {
		s.Text, s.Finish = done.Choices[0].Message.Content, done.Choices[0].FinishReason
		s.Reasoning = quoted(done.Choices[0].Message.JSON.ExtraFields["reasoning_content"].Raw())
	}
	return nil
}

func chatStream(ctx context.Context, c openai.Client, p openai.ChatCompletionNewParams, s *seen) error {
	stream := c.Chat.Completions.NewStreaming(ctx, p)
	defer stream.Close()
	for stream.Next() {
		chunk := stream.Current()
		s.event("chunk")
		s.ID = chunk.ID
		if len(chunk.Choices) > 0 {
			s.Reasoning += quoted(chunk.Choices[0].Delta.JSON.ExtraFields["reasoning_content"].Raw())
			if reason := chunk.Choices[0].FinishReason; reason != "" {
				s.Finish = reason
			}
			s.delta(chunk.Choices[0].Delta.Content)
		}
		if chunk.JSON.Usage.Valid() {
			s.Usage = raw(chunk.Usage.RawJSON())
		}
	}
	return stream.Err()
}

// quoted is the string that raw is in JSON, "" if it is none.
func quoted(raw string) string {
	var text string
	_ = json.Unmarshal([]byte(raw), &text)
	return text
}

func byResponses(r *request, web *http.Client) client {
	c := openaiClient(r, web)
	p := responses.ResponseNewParams{Model: r.Model}
	if r.System != "" {
		p.Instructions = param.NewOpt(r.System)
	}
	if r.Schema != nil {
		p.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema(answerSchema, r.Schema)
	}
	var input responses.ResponseInputParam
	last := ""
	return func(ctx context.Context, t turn, s *seen) error {
		said := responses.ResponseInputItemParamOfMessage(t.Text, responses.EasyInputMessageRoleUser)
		if t.Image != "" {
			image := responses.ResponseInputContentParamOfInputImage(responses.ResponseInputImageDetailAuto)
			image.OfInputImage.ImageURL = param.NewOpt(t.Image)
			parts := responses.ResponseInputMessageContentListParam{responses.ResponseInputContentParamOfInputText(t.Text), image}
			said = responses.ResponseInputItemParamOfMessage(parts, responses.EasyInputMessageRoleUser)
		}
		if r.Memory == "previous_response_id" && last != "" {
			input, p.PreviousResponseID = nil, param.NewOpt(last)
		}
		input = append(input, said)
		p.Input.OfInputItemList = input
		response, err := respond(ctx, c, p, s, *t.Stream)
		if err != nil {
			return failOpenAI(s, err)
		}
		last = s.ID
		for _, item := range response.Output {
			input = append(input, param.Override[responses.ResponseInputItemUnionParam](raw(item.RawJSON())))
		}
		return nil
	}
}

func respond(ctx context.Context, c openai.Client, p responses.ResponseNewParams, s *seen, streamed bool) (responses.Response, error) {
	if !streamed {
		response, err := c.Responses.New(ctx, p)
		if err != nil {
			return responses.Response{}, err
		}
		s.Text = response.OutputText()
		tell(s, response)
		return *response, nil
	}
	var last responses.Response
	stream := c.Responses.NewStreaming(ctx, p)
	defer stream.Close()
	for stream.Next() {
		event := stream.Current()
		s.event(event.Type)
		s.Numbers = append(s.Numbers, event.SequenceNumber)
		switch event.Type {
		case "response.output_text.delta":
			s.delta(event.Delta)
		case "response.reasoning_summary_text.delta":
			s.Reasoning += event.Delta
		}
		if event.JSON.Response.Valid() {
			last = event.Response
			tell(s, &last)
		}
	}
	return last, stream.Err()
}

func tell(s *seen, r *responses.Response) {
	s.ID, s.Status, s.Finish = r.ID, string(r.Status), string(r.Status)
	if r.IncompleteDetails.Reason != "" {
		s.Finish = r.IncompleteDetails.Reason
	}
	if r.JSON.Usage.Valid() {
		s.Usage = raw(r.Usage.RawJSON())
	}
	if r.JSON.Error.Valid() {
		s.Failure = raw(r.Error.RawJSON())
	}
	s.Tools, s.Reasoning = []tool{}, ""
	for _, item := range r.Output {
		switch item.Type {
		case "mcp_call":
			s.Tools = append(s.Tools, tool{
				item.Name, raw(item.JSON.Arguments.Raw()),
				raw(item.JSON.Output.Raw()), raw(item.JSON.Error.Raw()),
			})
		case "reasoning":
			for _, part := range item.Summary {
				s.Reasoning += part.Text
			}
		}
	}
}
