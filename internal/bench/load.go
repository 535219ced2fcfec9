package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// Figures are the numbers of a saved result, by the member names of `vllm bench serve`.
type Figures map[string]float64

// Saved is a result file, of this program or of `vllm bench serve`.
type Saved struct {
	Figures Figures
	Label   string
	Model   string
	Result  *Result // nil: the file has no arrays by request, which --save-detailed adds
}

// savedFile is what is read from a file beside the figures.
type savedFile struct {
	Label          string      `json:"label"`
	Date           string      `json:"date"`
	Backend        string      `json:"backend"`
	Model          string      `json:"model_id"`
	MaxConcurrency int         `json:"max_concurrency"`
	Duration       float64     `json:"duration"`
	Unsent         int         `json:"unsent"`
	Interrupted    bool        `json:"interrupted"`
	InputLens      []int       `json:"input_lens"`
	OutputLens     []int       `json:"output_lens"`
	TTFTs          []float64   `json:"ttfts"`
	ITLs           [][]float64 `json:"itls"`
	Starts         []float64   `json:"start_times"`
	Errors         []string    `json:"errors"`
	Kinds          []Kind      `json:"error_kinds"`
	RequestStreams []int       `json:"request_streams"`
	Streams        []struct {
		Name  string `json:"name"`
		Class string `json:"class"`
	} `json:"streams"`
}

// Load reads a result file.
func Load(r io.Reader) (*Saved, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read a result: %w", err)
	}
	var members map[string]json.RawMessage
	var file savedFile
	if err := errors.Join(json.Unmarshal(text, &members), json.Unmarshal(text, &file)); err != nil {
		return nil, fmt.Errorf("read a result: %w", err)
	}
	saved := &Saved{Figures: Figures{}, Label: file.Label, Model: file.Model}
	for name, raw := range members {
		var x *float64
		if json.Unmarshal(raw, &x) == nil && x != nil {
			saved.Figures[name] = *x
		}
	}
	if _, ok := saved.Figures["duration"]; !ok {
		return nil, errors.New("read a result: it has no duration; is it a file of --save-result?")
	}
	if len(file.TTFTs) > 0 {
		if saved.Result, err = file.result(); err != nil {
			return nil, fmt.Errorf("read a result: %w", err)
		}
	}
	return saved, nil
}

// result makes the records of a detailed file.
func (f *savedFile) result() (*Result, error) {
	n := len(f.TTFTs)
	if len(f.InputLens) != n || len(f.OutputLens) != n || len(f.ITLs) != n || len(f.Errors) != n {
		return nil, fmt.Errorf("it has %d ttfts, but %d input_lens, %d output_lens, %d itls and %d errors", n, len(f.InputLens), len(f.OutputLens), len(f.ITLs), len(f.Errors))
	}
	out := &Result{
		Duration: seconds(f.Duration), Endpoint: Completions, Model: f.Model, MaxConcurrency: f.MaxConcurrency,
		Unsent: f.Unsent, Interrupted: f.Interrupted, Streams: []Stream{{Name: "all"}},
	}
	if f.Backend == "openai-chat" {
		out.Endpoint = Chat
	}
	if began, err := time.ParseInLocation("20060102-150405", f.Date, time.Local); err == nil {
		out.Began = began
	}
	if len(f.RequestStreams) == n && len(f.Streams) > 0 {
		out.Streams = nil
		for _, s := range f.Streams {
			out.Streams = append(out.Streams, Stream{Name: s.Name, Class: s.Class})
		}
	}
	first := 0.0
	if len(f.Starts) > 0 && len(f.Kinds) == 0 { // vLLM's start_times are on its clock, not the run's
		first = slices.Min(f.Starts)
	}
	for i := range n {
		rec := Record{InputLen: f.InputLens[i], OutputTokens: f.OutputLens[i], TTFT: seconds(f.TTFTs[i])}
		rec.Latency = rec.TTFT
		for _, gap := range f.ITLs[i] {
			rec.ITL = append(rec.ITL, seconds(gap))
			rec.Latency += seconds(gap)
		}
		if rec.OutputTokens > 0 {
			rec.Counted = ByUsage
		}
		if len(f.Starts) == n {
			rec.Start = seconds(f.Starts[i] - first)
		}
		if len(out.Streams) > 1 {
			if rec.Stream = f.RequestStreams[i]; rec.Stream < 0 || rec.Stream >= len(out.Streams) {
				return nil, fmt.Errorf("request %d is of stream %d of %d", i, rec.Stream, len(out.Streams))
			}
		}
		rec.Due, rec.End = rec.Start, rec.Start+rec.Latency
		f.fail(i, &rec)
		out.Records = append(out.Records, rec)
	}
	return out, nil
}

// fail gives a record its failure. vLLM does not say the kind, and may fail a request without a
// message: such a one has no first token.
func (f *savedFile) fail(i int, rec *Record) {
	switch {
	case len(f.Kinds) == len(f.Errors) && f.Kinds[i] != "":
		rec.Err = &Failure{Kind: f.Kinds[i], Message: f.Errors[i]}
	case len(f.Kinds) == 0 && (f.Errors[i] != "" || rec.TTFT == 0):
		rec.Err = &Failure{Kind: Unknown, Message: f.Errors[i]}
	}
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
