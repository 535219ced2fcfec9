package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// parentCommand makes the test binary a process that supervises a shell script until it is killed.
const parentCommand = "parent"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case KeepCommand:
			os.Exit(Keep(os.Args[2:]))
		case parentCommand:
			parent(os.Args[2])
		}
	}
	goleak.VerifyTestMain(m)
}

// parent prints what the script prints, by way of the supervisor.
func parent(script string) {
	c := New(Spec{
		Name: "engine", Command: []string{"sh", "-c", script}, Ready: func(context.Context) error { return nil },
		Phase: func(line string) (string, string, bool) {
			fmt.Println(line)
			return "", "", false
		},
	}, DefaultConfig(), func(Status) {}, nil, slog.New(slog.DiscardHandler))
	fmt.Println(c.Run(context.Background()))
	os.Exit(1)
}
