package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

// object is a JSON object that keeps the order of its members.
type object []member

type member struct {
	name  string
	value any
}

func (o *object) add(name string, value any) { *o = append(*o, member{name, value}) }

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", m.name, err)
		}
		fmt.Fprintf(&b, "%q:%s", m.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// WriteJSON writes a result as `vllm bench serve --save-result` does: the same member names and
// units (seconds; milliseconds where the name says so). detailed adds the arrays by request, as
// --save-detailed does. The members failures, uncounted, total_cached_tokens, unsent, interrupted,
// slo_ms, streams, error_kinds and request_streams are added; max_concurrent_requests is the most at
// one moment, where vLLM counts all that touch the same second.
func (r *Result) WriteJSON(w io.Writer, s Summary, label string, detailed bool) error {
	var o object
	o.add("date", r.Began.Format("20060102-150405"))
	backend := "openai"
	if r.Endpoint == Chat {
		backend = "openai-chat"
	}
	o.add("endpoint_type", backend)
	o.add("backend", backend)
	o.add("label", orNull(label))
	o.add("model_id", r.Model)
	o.add("tokenizer_id", nil)
	o.add("num_prompts", len(r.Records)+r.Unsent)
	rate, burstiness := r.rate()
	o.add("request_rate", rate)
	o.add("burstiness", burstiness)
	o.add("max_concurrency", orNull(r.MaxConcurrency))
	s.members(&o)
	o.add("unsent", r.Unsent)
	o.add("interrupted", r.Interrupted)
	if s.SLO.Set() {
		o.add("slo_ms", sloMembers(s.SLO))
	}
	var streams []object
	for _, stream := range s.Streams {
		so := object{{"name", stream.Name}, {"class", orNull(stream.Class)}}
		stream.members(&so)
		streams = append(streams, so)
	}
	if streams != nil {
		o.add("streams", streams)
	}
	if detailed {
		r.details(&o)
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(o)
}

// members adds the figures.
func (s *Summary) members(o *object) {
	o.add("duration", s.Duration.Seconds())
	o.add("completed", s.Completed)
	o.add("failed", s.Failed)
	o.add("total_input_tokens", s.InputTokens)
	o.add("total_output_tokens", s.OutputTokens)
	o.add("request_throughput", s.Per(s.Completed))
	if s.SLO.Set() {
		o.add("request_goodput", s.Per(s.Good))
	} else {
		o.add("request_goodput", nil)
	}
	o.add("output_throughput", s.Per(s.OutputTokens))
	o.add("total_token_throughput", s.Per(s.InputTokens+s.OutputTokens))
	o.add("max_output_tokens_per_s", s.MaxTokenEvents)
	o.add("max_concurrent_requests", s.MaxInFlight)
	o.add("failures", s.Failures)
	o.add("uncounted", s.Uncounted)
	o.add("total_cached_tokens", s.CachedTokens)
	for _, d := range s.dists() {
		o.add("mean_"+d.name+"_ms", d.Mean)
		o.add("median_"+d.name+"_ms", d.Median)
		o.add("std_"+d.name+"_ms", d.Std)
		for _, p := range d.Percentiles {
			o.add("p"+strconv.FormatFloat(p.P, 'f', -1, 64)+"_"+d.name+"_ms", p.Value)
		}
	}
}

type namedDist struct {
	name string
	Dist
}

func (s *Summary) dists() []namedDist {
	return []namedDist{{"ttft", s.TTFT}, {"tpot", s.TPOT}, {"itl", s.ITL}, {"e2el", s.E2EL}}
}

func sloMembers(s SLO) object {
	var o object
	for _, m := range []struct {
		name  string
		bound time.Duration
	}{{"ttft", s.TTFT}, {"tpot", s.TPOT}, {"e2el", s.E2EL}} {
		if m.bound > 0 {
			o.add(m.name, float64(m.bound)/float64(time.Millisecond))
		}
	}
	return o
}

// rate is the arrivals per second of all streams together, "inf" for a burst.
func (r *Result) rate() (rate any, burstiness float64) {
	sum := 0.0
	burstiness = 1
	for _, s := range r.Streams {
		if s.Rate == 0 {
			return "inf", 1
		}
		sum += s.Rate
		if s.Burstiness > 0 && !math.IsInf(s.Burstiness, 1) {
			burstiness = s.Burstiness
		}
	}
	return sum, burstiness
}

// details adds one element for each request to each array; a failed request has zeros and an
// error.
func (r *Result) details(o *object) {
	n := len(r.Records)
	inputs, outputs, starts, ttfts := make([]int, n), make([]int, n), make([]float64, n), make([]float64, n)
	itls, texts, errs, kinds, streams := make([][]float64, n), make([]string, n), make([]string, n), make([]Kind, n), make([]int, n)
	kept := false
	for i := range r.Records {
		rec := &r.Records[i]
		inputs[i], starts[i], texts[i], streams[i], itls[i] = rec.Input(), rec.Start.Seconds(), rec.Text, rec.Stream, []float64{}
		kept = kept || rec.Text != ""
		if rec.Err != nil {
			errs[i], kinds[i] = rec.Err.Message, rec.Err.Kind
			continue
		}
		outputs[i], ttfts[i] = rec.OutputTokens, rec.TTFT.Seconds()
		for _, gap := range rec.ITL {
			itls[i] = append(itls[i], gap.Seconds())
		}
	}
	o.add("input_lens", inputs)
	o.add("output_lens", outputs)
	o.add("ttfts", ttfts)
	o.add("itls", itls)
	o.add("start_times", starts)
	if kept {
		o.add("generated_texts", texts)
	}
	o.add("errors", errs)
	o.add("error_kinds", kinds)
	if len(r.Streams) > 1 {
		o.add("request_streams", streams)
	}
}

func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}
