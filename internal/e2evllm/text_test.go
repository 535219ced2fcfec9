//go:build e2e

package e2evllm

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// greedy asks baton and one engine alone, and holds the KV traffic to what was asked.
func greedy(t *testing.T, p *pair, asks []ask) {
	t.Helper()
	before := p.decode.metrics(t)
	tokens, same, ties := 0, 0, 0
	for _, a := range asks {
		got := posted(t, p.URL, a)
		want := p.reference(t, a.probable())
		switch why := tied(got.text(), want); {
		case got.text() == want.text() && got.finish() == want.finish() && *got.Usage == *want.Usage:
			same++
			t.Logf("%d tokens, %.40q: %q", got.Usage.Prompt, a.name, got.text())
		case got.Usage.Prompt == want.Usage.Prompt && why != "":
			ties++
			t.Logf("%d tokens, %.40q: %q; %s", got.Usage.Prompt, a.name, got.text(), why)
		default:
			t.Errorf("%.60q: %q (%s, %+v), one engine alone: %q (%s, %+v)", a.name, got.text(), got.finish(), *got.Usage, want.text(), want.finish(), *want.Usage)
		}
		if way := got.header.Get("X-Baton-Path"); way != "split" {
			t.Errorf("%.60q went %s, want split", a.name, got.way())
		}
		if len(got.Params) > 0 {
			t.Errorf("%.60q: the answer has kv_transfer_params: %s", a.name, got.raw)
		}
		tokens += got.Usage.Prompt
	}
	after := p.decode.metrics(t)
	sum := func(name string) int { return int(after[name] - before[name]) }
	t.Logf("of %d texts %d the same and %d tied; %d KV caches moved, %d bytes, %d of %d prompt tokens", len(asks), same, ties, sum(moves), sum(moved), sum(external), tokens)
	if ties > len(asks)/5 {
		t.Errorf("%d of %d texts part at a tie: too many to be chance", ties, len(asks))
	}
	if sum(moves) != len(asks) || sum(moved) == 0 {
		t.Errorf("the decode engine counts %d KV caches and %d bytes that it read, want %d and some", sum(moves), sum(moved), len(asks))
	}
	if sum(external)+sum(local) != tokens {
		t.Errorf("%d prompt tokens came from the prefill engine and %d from earlier requests, want %d in all", sum(external), sum(local), tokens)
	}
	if n := sum(failures); n != 0 {
		t.Errorf("%d transfers failed", n)
	}
}

func greedyFew(t *testing.T, p *pair) {
	greedy(t, p, []ask{
		chat("What is the capital of France?", 12),
		completion("The quick brown fox jumps over the lazy", 6),
		completion(sentence("Item %d comes before the next item. ", 60)+"Item 60 comes", 8),
	})
}

func greedyMany(t *testing.T, p *pair) {
	var ids struct {
		Tokens []int `json:"tokens"`
	}
	spoken := posted(t, p.decode.URL, ask{path: "/tokenize", body: body{"prompt": "Monday, Tuesday, Wednesday, Thursday,"}})
	if err := json.Unmarshal([]byte(spoken.raw), &ids); err != nil || len(ids.Tokens) == 0 {
		t.Fatalf("/tokenize: %v: %s", err, spoken.raw)
	}
	turns := chat("", 12)
	turns.name, turns.body = "a conversation", turns.body.with("messages", []body{
		{"role": "system", "content": "You answer in one short sentence."},
		{"role": "user", "content": "What is two plus two?"},
		{"role": "assistant", "content": "Two plus two is four."},
		{"role": "user", "content": "And what is the capital of Italy?"},
	})
	greedy(t, p, []ask{
		chat("What is the capital of Spain?", 12),
		chat("Which planet is closest to the sun?", 12),
		chat("Say hello in French.", 8),
		chat("Qu'est-ce que l'eau ? Réponds en français.", 10),
		chat("日本の首都はどこですか？", 8),
		chat("What does the emoji 🐈 show? \u2603 \U0001F600", 10),
		chat("Write one line of Python that prints hello.", 12),
		turns,
		completion("1, 2, 3, 4, 5, 6,", 9),
		completion("A B C D E F G", 8),
		completion(ids.Tokens, 6),
		completion("def add(a, b):\n    return", 5),
		completion("Twinkle, twinkle, little", 4),
		completion("{\"name\": \"Ann\", \"age\": 3}\n{\"name\": \"Bob\", \"age\":", 3),
		completion("Naïve café — “quoted” ½ ½ ½ ½", 6),
		completion("x = 1\ny =", 4),
		completion(strings.Repeat("yes ", 127), 4),
		completion(strings.Repeat("no ", 130), 4),
		completion(sentence("Row %d is green. ", 150), 8),
		completion(sentence("Item %d: the river flows past town %d. ", 215), 10),
	})
}

// streaming compares a stream that ends at a stop string with the text of one engine.
func streaming(t *testing.T, p *pair) {
	a := completion("1, 2, 3, 4,", 16)
	whole := p.reference(t, a)
	if !strings.Contains(whole.text(), " 7") {
		t.Fatalf("one engine alone: %q, want one with 7", whole.text())
	}
	want, _, _ := strings.Cut(whole.text(), " 7")
	a.body = a.body.with("stop", []string{" 7"}).with("stream_options", body{"include_usage": true})
	got, err := openStream(t, p.URL, a).rest()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events, %q, %s, %+v", got.events, got.text, got.finish, got.usage)
	if got.text != want || got.finish != "stop" || !got.done || got.failure != "" {
		t.Errorf("stream: %+v, want the text %q, finish stop, [DONE]", got, want)
	}
	if got.usage == nil || got.usage.Prompt != whole.Usage.Prompt || got.usage.Completion == 0 {
		t.Errorf("usage: %+v, want %d prompt tokens", got.usage, whole.Usage.Prompt)
	}
	if got.events < 3 {
		t.Errorf("%d events: the text came in one piece", got.events)
	}
}

// interleaved holds two conversations at the same time, each of which must be answered as it is alone.
func interleaved(t *testing.T, p *pair) {
	asks := []ask{completion("10, 20, 30, 40, 50,", 24), completion("1, 2, 3, 4,", 24)}
	streams := make([]*stream, len(asks))
	for i, a := range asks {
		streams[i] = openStream(t, p.URL, a)
	}
	for i, s := range streams {
		got, err := s.rest()
		if err != nil {
			t.Fatal(err)
		}
		want := p.reference(t, asks[i])
		t.Logf("%q: %q", asks[i].name, got.text)
		if got.text != want.text() || !got.done {
			t.Errorf("%q beside another: %q, alone %q", asks[i].name, got.text, want.text())
		}
	}
}

// members asks for what engines answer in other forms.
func members(t *testing.T, p *pair) {
	schema := chat("Name a colour and a number as JSON.", 40)
	schema.body = schema.body.with("response_format", body{"type": "json_schema", "json_schema": body{"name": "pair", "schema": body{
		"type": "object", "additionalProperties": false, "required": []string{"colour", "number"},
		"properties": body{"colour": body{"enum": []string{"red", "green"}}, "number": body{"type": "integer", "minimum": 1, "maximum": 9}},
	}}})
	got := posted(t, p.URL, schema)
	var value struct {
		Colour string `json:"colour"`
		Number int    `json:"number"`
	}
	err := json.Unmarshal([]byte(got.text()), &value)
	t.Logf("json_schema: %s, %s", got.text(), got.way())
	if err != nil || value.Colour != "red" && value.Colour != "green" || value.Number < 1 || value.Number > 9 {
		t.Errorf("json_schema: %v: %s", err, got.text())
	}
	if got.header.Get("X-Baton-Path") != "split" {
		t.Errorf("json_schema went %s, want split", got.way())
	}

	probs := chat("What is the capital of France?", 8)
	probs.body = probs.body.with("logprobs", true).with("top_logprobs", 2)
	got = posted(t, p.URL, probs)
	var spelled string
	if lp := got.Choices[0].Logprobs; lp != nil {
		for _, token := range lp.Content {
			spelled += token.Token
			if len(token.Top) != 2 {
				t.Errorf("token %q has %d alternatives, want 2", token.Token, len(token.Top))
			}
		}
	}
	t.Logf("logprobs: %q, %s", spelled, got.way())
	if !strings.HasPrefix(spelled, got.text()) || got.text() == "" || got.header.Get("X-Baton-Path") != "split" {
		t.Errorf("logprobs spell %q and the text is %q, %s; want the same, split", spelled, got.text(), got.way())
	}

	two := chat("Name a colour.", 5)
	two.body = two.body.with("n", 2).with("temperature", 1)
	got = posted(t, p.URL, two)
	t.Logf("n=2: %d choices, %s", len(got.Choices), got.way())
	if len(got.Choices) != 2 || got.header.Get("X-Baton-Path") != "whole" {
		t.Errorf("n=2: %d choices, %s, want 2, whole", len(got.Choices), got.way())
	}
}

// malformed sends what ends the process of an engine that gets it.
func malformed(t *testing.T, p *pair) {
	before := [2]float64{p.prefill.metrics(t)[prompts], p.decode.metrics(t)[prompts]}
	for name, value := range map[string]any{
		"kv_transfer_params": body{"do_remote_prefill": true},
		"vllm_xargs":         body{"kv_transfer_params": "x"},
		"ec_transfer_params": body{},
	} {
		a := chat("Hello", 4)
		a.body = a.body.with(name, value)
		got, err := post(t.Context(), p.URL, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d %s", name, got.status, got.raw)
		if got.status != http.StatusBadRequest || got.Error == nil || got.Error.Param == "" {
			t.Errorf("%s: status %d, %s, want 400 that names it", name, got.status, got.raw)
		}
	}
	after := [2]float64{p.prefill.metrics(t)[prompts], p.decode.metrics(t)[prompts]}
	if after != before {
		t.Errorf("engines counted prompts: %v, before %v", after, before)
	}
}

// firstTokens tells how the one token of the prefill answer compares with the first of the decode answer.
func firstTokens(t *testing.T, p *pair) {
	texts := []string{"Once upon a time", "My favourite food is", "In the morning I", "The old man said", "Tell me a story about", "She opened the door and"}
	for _, how := range []struct {
		name    string
		members body
		must    bool // the engines' own promise: without chance there is one answer
	}{
		{"greedy", body{"temperature": 0}, true},
		{"sampled with a seed", body{"temperature": 1, "seed": 7}, true},
		{"sampled", body{"temperature": 1}, false},
	} {
		same := 0
		for _, text := range texts {
			a := completion(text, 1)
			for name, value := range how.members {
				a.body = a.body.with(name, value)
			}
			leg := a
			leg.body = a.body.with("kv_transfer_params", body{"do_remote_decode": true, "do_remote_prefill": false})
			first := posted(t, p.prefill.URL, leg)
			leg.body = a.body.with("max_tokens", 4).with("kv_transfer_params", first.Params)
			decoded := posted(t, p.decode.URL, leg)
			if strings.HasPrefix(decoded.text(), first.text()) {
				same++
			}
		}
		t.Logf("%s: in %d of %d the decode answer begins with the prefill answer's token", how.name, same, len(texts))
		if how.must && same != len(texts) {
			t.Errorf("%s: %d of %d begin alike", how.name, same, len(texts))
		}
	}
}
