package workload

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// traceRow is one request of a trace.
type traceRow struct {
	at            time.Duration // since the first row
	input, output int           // tokens
	blocks        []int64       // ids of the prompt's blocks; rows with the same ids share their text
}

func (r traceRow) scaled(speed float64) time.Duration {
	return time.Duration(float64(r.at) / speed)
}

// readTrace reads at most limit rows (0: all) of a trace and orders them by time.
//
// Known are Mooncake's JSONL (timestamp in ms, input_length, output_length, hash_ids) and the Azure
// LLM inference trace as CSV with a header or as JSONL (TIMESTAMP as a date, ContextTokens,
// GeneratedTokens). A length of 0 becomes 1: no endpoint takes less.
func readTrace(file string, limit int) ([]traceRow, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open the trace: %w", err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	rows, err := parseTrace(f, limit)
	if err != nil {
		return nil, fmt.Errorf("read the trace %s: %w", file, err)
	}
	return rows, nil
}

func parseTrace(f io.Reader, limit int) ([]traceRow, error) {
	in := bufio.NewReaderSize(f, 1<<16)
	first, err := in.Peek(1)
	if err != nil {
		return nil, errors.New("it is empty")
	}
	next := csvRows(in)
	if first[0] == '{' {
		next = jsonRows(in)
	}
	var rows []traceRow
	for n := 1; limit == 0 || len(rows) < limit; n++ {
		row, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", n, err)
		}
		row.input, row.output = max(1, row.input), max(1, row.output)
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil, errors.New("it has no rows")
	}
	slices.SortStableFunc(rows, func(a, b traceRow) int { return cmp.Compare(a.at, b.at) })
	begin := rows[0].at
	for i := range rows {
		rows[i].at -= begin
	}
	return rows, nil
}

// jsonRows reads one object per line. Names are compared without regard to case.
func jsonRows(in *bufio.Reader) func() (traceRow, error) {
	return func() (traceRow, error) {
		var line []byte
		for len(line) == 0 {
			text, err := in.ReadBytes('\n')
			if line = bytes.TrimSpace(text); err != nil && len(line) == 0 {
				return traceRow{}, err
			}
		}
		var o struct {
			Timestamp       json.RawMessage `json:"timestamp"`
			InputLength     *int            `json:"input_length"`
			OutputLength    *int            `json:"output_length"`
			HashIDs         []int64         `json:"hash_ids"`
			ContextTokens   *int            `json:"ContextTokens"`
			GeneratedTokens *int            `json:"GeneratedTokens"`
		}
		if err := json.Unmarshal(line, &o); err != nil {
			return traceRow{}, err
		}
		var date string
		var ms float64
		switch {
		case o.InputLength != nil && o.OutputLength != nil:
			if err := json.Unmarshal(o.Timestamp, &ms); err != nil {
				return traceRow{}, fmt.Errorf("timestamp %s, want milliseconds: %w", o.Timestamp, err)
			}
			return traceRow{at: time.Duration(ms * float64(time.Millisecond)), input: *o.InputLength, output: *o.OutputLength, blocks: o.HashIDs}, nil
		case o.ContextTokens != nil && o.GeneratedTokens != nil:
			if err := json.Unmarshal(o.Timestamp, &date); err != nil {
				return traceRow{}, fmt.Errorf("TIMESTAMP %s, want a date: %w", o.Timestamp, err)
			}
			at, err := sinceEpoch(date)
			return traceRow{at: at, input: *o.ContextTokens, output: *o.GeneratedTokens}, err
		default:
			return traceRow{}, errors.New("want timestamp, input_length and output_length, or TIMESTAMP, ContextTokens and GeneratedTokens")
		}
	}
}

// csvRows reads Azure's table.
func csvRows(in io.Reader) func() (traceRow, error) {
	table := csv.NewReader(in)
	columns := []string{"TIMESTAMP", "ContextTokens", "GeneratedTokens"}
	var at []int // of the columns
	return func() (row traceRow, err error) {
		if at == nil {
			header, err := table.Read()
			if err != nil {
				return traceRow{}, fmt.Errorf("read the header: %w", err)
			}
			for _, name := range columns {
				i := slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
				if i < 0 {
					return traceRow{}, fmt.Errorf("the header %q has no %s", header, name)
				}
				at = append(at, i)
			}
		}
		fields, err := table.Read()
		if err != nil {
			return traceRow{}, err
		}
		var errs [3]error
		row.at, errs[0] = sinceEpoch(fields[at[0]])
		row.input, errs[1] = strconv.Atoi(fields[at[1]])
		row.output, errs[2] = strconv.Atoi(fields[at[2]])
		return row, errors.Join(errs[:]...)
	}
}

// sinceEpoch reads a date such as 2023-11-16 18:17:03.9799600, with or without a zone.
func sinceEpoch(date string) (time.Duration, error) {
	date = strings.Replace(strings.TrimSpace(date), "T", " ", 1)
	var at time.Time
	var err error
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00"} { // both take fractions
		if at, err = time.Parse(layout, date); err == nil {
			return time.Duration(at.UnixNano()), nil
		}
	}
	return 0, err
}
