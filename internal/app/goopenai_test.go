package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	openai "github.com/sashabaranov/go-openai"
	"github.com/sashabaranov/go-openai/jsonschema"
	"golang.org/x/sync/errgroup"
)

// sdk is a client of the most used Go package for OpenAI's API. It never tries again.
func sdk(base string) *openai.Client {
	cfg := openai.DefaultConfig("none")
	cfg.BaseURL = base + "/v1"
	cfg.HTTPClient = http.DefaultClient
	return openai.NewClientWithConfig(cfg)
}

// question is a chat whose answer has 10 tokens, fewer than any that ends by itself.
func question(cfg *Config, prompt string) openai.ChatCompletionRequest {
	return openai.ChatCompletionRequest{
		Model: cfg.Sim.Model, MaxCompletionTokens: 10,
		Messages: []openai.ChatCompletionMessage{{Role: openai.ChatMessageRoleUser, Content: prompt}},
	}
}

// proven is what an undisturbed engine answers to req.
func proven(t *testing.T, req openai.ChatCompletionRequest) string {
	t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return proof(t, string(body), req.MaxCompletionTokens)
}

// chunks is a whole stream.
func chunks(ctx context.Context, c *openai.Client, req openai.ChatCompletionRequest) (all []openai.ChatCompletionStreamResponse, err error) {
	stream, err := c.CreateChatCompletionStream(ctx, req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, chunk)
	}
}

// textOf joins the text of one choice.
func textOf(all []openai.ChatCompletionStreamResponse, index int) string {
	var text strings.Builder
	for _, chunk := range all {
		for _, choice := range chunk.Choices {
			if choice.Index == index {
				text.WriteString(choice.Delta.Content)
			}
		}
	}
	return text.String()
}

// both asks for an answer whole and streamed, whose texts must agree.
func both(t *testing.T, c *openai.Client, req openai.ChatCompletionRequest) (openai.ChatCompletionResponse, []openai.ChatCompletionStreamResponse) {
	t.Helper()
	whole, err := c.CreateChatCompletion(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	streamed, err := chunks(t.Context(), c, req)
	if err != nil {
		t.Fatal(err)
	}
	for i, choice := range whole.Choices {
		if got, want := textOf(streamed, i), choice.Message.Content; got != want {
			t.Errorf("choice %d is %q streamed and %q whole", i, got, want)
		}
	}
	return whole, streamed
}

func TestGoClient(t *testing.T) {
	cfg := quick()
	cfg.Sim.MaxModelLen = 1 << 19
	base, _ := startUp(t, cfg)
	c := sdk(base)

	t.Run("text proves its path", func(t *testing.T) {
		for name, prompt := range map[string]string{"short": "hello", "unicode": "Grüße, 世界! 🏳️‍🌈 \u202e \"\\\r\n", "a megabyte": strings.Repeat("0123456789abcdef", 1<<16)} {
			req := question(&cfg, prompt)
			whole, _ := both(t, c, req)
			if got, want := whole.Choices[0].Message.Content, proven(t, req); got != want {
				t.Errorf("%s: text %q, want %q", name, got, want)
			}
		}
	})
	t.Run("several choices", func(t *testing.T) {
		req := question(&cfg, "hello")
		req.N = 2
		whole, _ := both(t, c, req)
		if len(whole.Choices) != 2 || whole.Choices[0].Message.Content == whole.Choices[1].Message.Content {
			t.Errorf("choices are %+v, want two that differ", whole.Choices)
		}
	})
	t.Run("stop", func(t *testing.T) {
		req := question(&cfg, "hello")
		want := proven(t, req)
		word := strings.Fields(want)[5]
		req.Stop = []string{word}
		whole, _ := both(t, c, req)
		want, _, _ = strings.Cut(want, word)
		if got := whole.Choices[0]; got.Message.Content != want || got.FinishReason != openai.FinishReasonStop {
			t.Errorf("answer is %+v, want %q and an end by the stop word", got, want)
		}
	})
	t.Run("logprobs", func(t *testing.T) {
		req := question(&cfg, "hello")
		req.LogProbs, req.TopLogProbs = true, 3
		whole, _ := both(t, c, req)
		var text strings.Builder
		for _, token := range whole.Choices[0].LogProbs.Content {
			text.WriteString(token.Token)
			if len(token.TopLogProbs) != 3 {
				t.Errorf("token %q has %d alternatives, want 3", token.Token, len(token.TopLogProbs))
			}
		}
		if got, want := text.String(), whole.Choices[0].Message.Content; got != want {
			t.Errorf("tokens are %q, want %q", got, want)
		}
	})
	t.Run("usage", func(t *testing.T) {
		req := question(&cfg, "hello")
		whole, streamed := both(t, c, req)
		for _, chunk := range streamed {
			if chunk.Usage != nil || len(chunk.Choices) != 1 {
				t.Errorf("chunk %+v, want one choice and no usage that was not asked for", chunk)
			}
		}
		req.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
		streamed, err := chunks(t.Context(), c, req)
		if err != nil {
			t.Fatal(err)
		}
		last := streamed[len(streamed)-1]
		if len(last.Choices) != 0 || last.Usage == nil || last.Usage.CompletionTokens != 10 || last.Usage.PromptTokens != whole.Usage.PromptTokens {
			t.Errorf("last chunk is %+v, want the usage %+v alone", last, whole.Usage)
		}
	})
	t.Run("seed", func(t *testing.T) {
		req := question(&cfg, "hello")
		seed := math.MaxInt64
		req.Seed = &seed
		both(t, c, req)
	})
	t.Run("models", func(t *testing.T) {
		list, err := c.ListModels(t.Context())
		if err != nil || len(list.Models) != 1 || list.Models[0].ID != cfg.Sim.Model {
			t.Errorf("models are %+v, %v", list.Models, err)
		}
		model, err := c.GetModel(t.Context(), cfg.Sim.Model)
		if err != nil || model.ID != cfg.Sim.Model {
			t.Errorf("model is %+v, %v", model, err)
		}
	})
	t.Run("embeddings", func(t *testing.T) {
		answer, err := c.CreateEmbeddings(t.Context(), openai.EmbeddingRequest{Model: openai.EmbeddingModel(cfg.Sim.Model), Input: []string{"one", "two"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Data) != 2 || slices.Equal(answer.Data[0].Embedding, answer.Data[1].Embedding) {
			t.Errorf("embeddings are %+v, want two that differ", answer.Data)
		}
	})
	t.Run("many streams", func(t *testing.T) {
		var g errgroup.Group
		for i := range 200 {
			req := question(&cfg, fmt.Sprintf("question %d: %s", i, strings.Repeat("why? ", i%50)))
			want := proven(t, req)
			g.Go(func() error {
				streamed, err := chunks(t.Context(), c, req)
				if err == nil && textOf(streamed, 0) != want {
					err = fmt.Errorf("text %q, want %q", textOf(streamed, 0), want)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// toolCall is a function call without its random id.
type toolCall struct{ Name, Arguments string }

func callsOf(message openai.ChatCompletionMessage) (calls []toolCall) {
	for _, c := range message.ToolCalls {
		calls = append(calls, toolCall{c.Function.Name, c.Function.Arguments})
	}
	return calls
}

// streamedCalls puts the calls of a stream together as the API's documents say.
func streamedCalls(all []openai.ChatCompletionStreamResponse) (calls []toolCall) {
	for _, chunk := range all {
		for _, choice := range chunk.Choices {
			for _, part := range choice.Delta.ToolCalls {
				if *part.Index == len(calls) {
					calls = append(calls, toolCall{Name: part.Function.Name})
				}
				calls[*part.Index].Arguments += part.Function.Arguments
			}
		}
	}
	return calls
}

func TestGoClientCallsTools(t *testing.T) {
	cfg := quick()
	base, _ := startUp(t, cfg)
	c := sdk(base)
	var tools []openai.Tool
	for _, name := range []string{"get_weather", "get_time"} {
		tools = append(tools, openai.Tool{Type: openai.ToolTypeFunction, Function: &openai.FunctionDefinition{Name: name, Parameters: jsonschema.Definition{
			Type: jsonschema.Object, Properties: map[string]jsonschema.Definition{"where": {Type: jsonschema.String}}, Required: []string{"where"},
		}}})
	}
	for _, tt := range []struct {
		name, prompt string
		choice       any
		parallel     any
		want         []string
	}{
		{"auto", "call get_time", nil, nil, []string{"get_time"}},
		{"parallel", "get_time and get_weather", "auto", nil, []string{"get_weather", "get_time"}},
		{"not parallel", "get_time and get_weather", nil, false, []string{"get_weather"}},
		{"required", "hello", "required", nil, []string{"get_weather"}},
		{"named", "hello", openai.ToolChoice{Type: openai.ToolTypeFunction, Function: openai.ToolFunction{Name: "get_time"}}, nil, []string{"get_time"}},
		{"none mentioned", "hello", nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := question(&cfg, tt.prompt)
			req.MaxCompletionTokens, req.Tools, req.ToolChoice, req.ParallelToolCalls = 0, tools, tt.choice, tt.parallel
			whole, streamed := both(t, c, req)
			calls := callsOf(whole.Choices[0].Message)
			var names []string
			for _, made := range calls {
				names = append(names, made.Name)
				var arguments struct{ Where *string }
				if err := json.Unmarshal([]byte(made.Arguments), &arguments); err != nil || arguments.Where == nil {
					t.Errorf("arguments are %s, %v", made.Arguments, err)
				}
			}
			if diff := cmp.Diff(tt.want, names); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(calls, streamedCalls(streamed)); diff != "" {
				t.Errorf("streamed: %s", diff)
			}
		})
	}
}

func TestGoClientGetsWhatItsSchemaSays(t *testing.T) {
	cfg := quick()
	base, _ := startUp(t, cfg)
	type person struct {
		Name string   `json:"name"`
		Age  int      `json:"age"`
		Tags []string `json:"tags"`
	}
	schema, err := jsonschema.GenerateSchemaForType(person{})
	if err != nil {
		t.Fatal(err)
	}
	req := question(&cfg, "who?")
	req.MaxCompletionTokens = 0
	req.ResponseFormat = &openai.ChatCompletionResponseFormat{
		Type:       openai.ChatCompletionResponseFormatTypeJSONSchema,
		JSONSchema: &openai.ChatCompletionResponseFormatJSONSchema{Name: "person", Schema: schema, Strict: true},
	}
	whole, _ := both(t, sdk(base), req)
	var got person
	if err := schema.Unmarshal(whole.Choices[0].Message.Content, &got); err != nil {
		t.Errorf("text %q: %v", whole.Choices[0].Message.Content, err)
	}
}
