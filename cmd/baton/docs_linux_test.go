package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// consoleOf returns the lines of a page's console blocks that begin with "$ ", in order, and the others, which the
// commands must have printed.
func consoleOf(t *testing.T, page string) (commands, output []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	inside, open := false, false // open: a command that goes on in the next line
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside:
		case begins:
			commands = append(commands, command)
			open = strings.Count(command, "'")%2 == 1
		case open:
			commands[len(commands)-1] += "\n" + line
			open = strings.Count(commands[len(commands)-1], "'")%2 == 1
		default:
			output = append(output, line)
		}
	}
	return commands, output
}

// free are ports of this machine that nobody has.
func free(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// The commands of the pages for beginners do what the pages say. They run as they stand there, but with other ports.
func TestCommandsOfDocs(t *testing.T) {
	for _, page := range pagesThatRun {
		t.Run(page, func(t *testing.T) {
			commands, output := consoleOf(t, filepath.Join("../..", page))
			if len(commands) < 2 {
				t.Fatalf("the page has %d commands", len(commands))
			}
			ports := free(t, 5)
			other := strings.NewReplacer("bin/baton", filepath.Join(t.TempDir(), "baton"), ":8000", ":"+ports[0], ":8100", ":"+ports[1], ":8200", ":"+ports[2], ":4222", ":"+ports[3], ":9090", ":"+ports[4])
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			shell := exec.CommandContext(ctx, "bash", "-c", other.Replace(strings.Join(commands, "\n")))
			shell.Dir = "../.."
			nats := "127.0.0.1:" + ports[3]
			shell.Env = append(os.Environ(), "BATON_API_LISTEN=127.0.0.1:"+ports[0], "BATON_UP_UI=127.0.0.1:"+ports[4], "BATON_NATS_URL=nats://"+nats, "BATON_NATS_SERVER_LISTEN="+nats, "BATON_LOG_LEVEL=warn")
			shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			end := func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
			shell.Cancel = end
			file, err := os.Create(filepath.Join(t.TempDir(), "shown")) // a pipe would stay open with what runs in the background
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			shell.Stdout, shell.Stderr = file, file
			err = shell.Run()
			if e := end(); e != nil && !errors.Is(e, syscall.ESRCH) {
				t.Error(e)
			}
			if err != nil {
				t.Errorf("the commands ended with %v", err)
			}
			shown, err := os.ReadFile(file.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range output {
				if !strings.Contains(string(shown), other.Replace(line)) {
					t.Errorf("nothing printed %q", line)
				}
			}
			if t.Failed() {
				fmt.Fprintln(t.Output(), string(shown))
			}
		})
	}
}
