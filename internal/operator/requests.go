package operator

import (
	"fmt"
	"io"
	"strings"

	"github.com/baton-llm/baton/api/live"
)

// RequestFilter says which requests are meant; what is empty fits all.
type RequestFilter struct {
	State, Class, Tenant, Model string
	Worker                      string // that has it or had a part in it
	Ended                       bool   // those that ended last, in place of those that run
}

// Select returns those of a frontend's requests that fit: the longest waiting first, or the last that ended.
func (f *RequestFilter) Select(all *live.Requests) []live.Request {
	from := all.Active
	if f.Ended {
		from = all.Finished
	}
	fits := []live.Request{}
	for i := range from {
		r := &from[i]
		if f.State != "" && r.State != f.State || f.Class != "" && r.Class.String() != f.Class || f.Tenant != "" && r.Tenant != f.Tenant || f.Model != "" && r.Model != f.Model {
			continue
		}
		if f.Worker != "" && r.Worker != f.Worker && r.PrefillWorker != f.Worker && r.DecodeWorker != f.Worker {
			continue
		}
		fits = append(fits, *r)
	}
	return fits
}

const requestHead = "REQUEST\tCLASS\tSTATE\tAGE\tIN STATE\tQUEUE\tPREFILL\tHANDOVER\tTTFT\tPROMPT\tSENT\tPATH\tWORKER\tTRY\tTENANT"

// PrintRequests writes requests as a table. Times are seconds, also of what goes on.
func PrintRequests(out io.Writer, requests []live.Request) error {
	return table(out, func(tab io.Writer) {
		fmt.Fprintln(tab, requestHead)
		for i := range requests {
			fmt.Fprintln(tab, requestRow(&requests[i]))
		}
	})
}

// requestRow is one line of the table, its cells apart by tabs.
func requestRow(r *live.Request) string {
	path, state := dash(r.Path), r.State
	if r.Why != "" && r.Why != r.Path {
		path += " (" + r.Why + ")"
	}
	if r.Reason != "" {
		state += ": " + r.Reason
	}
	spent := timesOf(r)
	return strings.Join([]string{
		r.ID, r.Class.String(), state, age(r.TotalSeconds), age(spent.state), age(spent.queue), age(spent.prefill), age(spent.handover), age(r.TTFTSeconds),
		tokens(r.PromptTokens), tokens(r.SentTokens), path, dash(r.Worker), fmt.Sprint(r.Attempt), dash(r.Tenant),
	}, "\t")
}

// times is where the time of a request went so far, in seconds.
type times struct{ state, queue, prefill, handover float64 }

// timesOf sums the states up that a request was in; the last one lasts until now.
func timesOf(r *live.Request) (t times) {
	for i := range r.Steps {
		s, end := &r.Steps[i], r.TotalSeconds
		if i+1 < len(r.Steps) {
			end = r.Steps[i+1].AfterSeconds
		}
		lasts := max(0, end-s.AfterSeconds)
		switch s.State {
		case "queued":
			t.queue += lasts
		case "prefilling":
			t.prefill += lasts
		case "handed":
			t.handover += lasts
		}
		t.state = lasts
	}
	return t
}

func tokens(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
