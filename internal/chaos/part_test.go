package chaos

import (
	"slices"
	"testing"
)

// What broke the promise is told whole, and what a healthy program writes is not.
func TestComplaintsShowWhatFollows(t *testing.T) {
	dir := t.TempDir()
	log, err := openLog(dir, "nats")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // The test's own file.
	if _, err := log.WriteString(`level=INFO msg=ready
==================
WARNING: DATA RACE
Read at 0x00c000 by goroutine 7:
==================
level=INFO msg=stopped
panic: no such stream

goroutine 1 [running]:
`); err != nil {
		t.Fatal(err)
	}
	got := (&part{name: "nats", log: log}).complaints()
	want := []string{
		"nats: WARNING: DATA RACE\n    Read at 0x00c000 by goroutine 7:\n    ==================",
		"nats: panic: no such stream\n    goroutine 1 [running]:",
	}
	if !slices.Equal(got, want) {
		t.Errorf("complaints are %q, want %q", got, want)
	}
}
