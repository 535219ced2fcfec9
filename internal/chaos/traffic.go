package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

// model is the name of the model that all engines of a run serve.
const model = "chaos"

const (
	pathChat        = "/v1/chat/completions"
	pathCompletions = "/v1/completions"
)

// request is one request of one client.
type request struct {
	id     string
	path   string
	body   []byte
	stream bool
	usage  bool          // a stream's last event shall count tokens
	pause  time.Duration // of a slow reader before each event; 0: none
	cancel time.Duration // after which the client leaves; 0: it stays
	think  time.Duration // before it is sent
	want   enginesim.Expected
}

// draw makes request n of a client: both decide it with the seed, however fast the run goes.
func draw(seed uint64, client, n int) (*request, error) {
	rng := rand.New(rand.NewPCG(seed, 1<<63|uint64(client)<<32|uint64(n))) //nolint:gosec // Repeatable on purpose; not negative.
	r := &request{
		id: fmt.Sprintf("chaos-%d-%d-%d", seed, client, n), path: pathChat,
		stream: rng.Float64() < 0.7, think: time.Duration(rng.IntN(200)) * time.Millisecond,
	}
	if rng.Float64() < 0.4 {
		r.path = pathCompletions
	}
	text := r.id + words(rng, size(rng))
	body := map[string]any{"model": model, "stream": r.stream}
	if r.path == pathChat {
		body["messages"] = []map[string]string{{"role": "user", "content": text}}
	} else {
		body["prompt"] = text
	}
	if r.path == pathCompletions || rng.Float64() < 0.7 {
		body["max_tokens"] = 1 + rng.IntN(120)
	}
	if r.usage = r.stream && rng.Float64() < 0.5; r.usage {
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	switch chance := rng.Float64(); {
	case chance < 0.1:
		r.cancel = time.Duration(1+rng.IntN(3000)) * time.Millisecond
	case chance < 0.2 && r.stream:
		r.pause = time.Duration(20+rng.IntN(100)) * time.Millisecond
	}
	var err error
	if r.body, err = json.Marshal(body); err == nil {
		r.want, err = enginesim.Expect(r.path, r.body)
	}
	return r, err
}

// size draws a prompt's length in bytes: short ones are computed where they are decoded, others are split, and the
// largest travel apart from their jobs.
func size(rng *rand.Rand) int {
	switch chance := rng.Float64(); {
	case chance < 0.4:
		return 20 + rng.IntN(1500)
	case chance < 0.7:
		return 2500 + rng.IntN(1500)
	case chance < 0.97:
		return 4500 + rng.IntN(12000)
	default:
		return storeBody + rng.IntN(20000)
	}
}

func words(rng *rand.Rand, bytes int) string {
	var b strings.Builder
	for b.Len() < bytes {
		fmt.Fprintf(&b, " w%d", rng.IntN(10000))
	}
	return b.String()
}
