//go:build e2e

package e2evllm

import "testing"

// testCase is one case of the suite.
type testCase struct {
	name string
	run  func(t *testing.T, p *pair)
}

// smoke are the cases that CI always runs.
var smoke = []testCase{
	{"greedy text of a split request is that of one engine", greedyFew},
	{"a stream with a stop string and usage", streaming},
	{"two chats at once do not cross", interleaved},
	{"a client's own transfer parameters reach no engine", malformed},
	{"a client that leaves in decode frees both engines", leaveInDecode},
}

// more cases for the same deployment. Those that kill engines come last.
var more = []testCase{
	{"greedy text over twenty prompts", greedyMany},
	{"json schema, log probabilities, two choices", members},
	{"the first token of the prefill answer", firstTokens},
	{"a client that leaves in prefill frees both engines", leaveInPrefill},
	{"workers of their own in front of the engines", ownWorkers},
	{"decode engine killed in the midst of a stream", killDecode},
}

// TestVLLM runs the cases one after the other on one deployment; with -short only the smoke.
func TestVLLM(t *testing.T) {
	p := startPair(t)
	cases := smoke
	if !testing.Short() {
		cases = append(cases, more...)
	}
	for _, c := range cases {
		p.check(t, c)
	}
	p.stop(t)
}
