package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// leavesOf are the commands below a node that do something, as they are typed behind "baton".
func leavesOf(n *kong.Node, typed string) (leaves []string) {
	for _, child := range n.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		name := strings.TrimSpace(typed + " " + child.Name)
		if below := leavesOf(child, name); below != nil {
			leaves = append(leaves, below...)
		} else {
			leaves = append(leaves, name)
		}
	}
	return leaves
}

// commandsOf are the commands that docs/cli.md names in its tables: `baton a`, or `a` after a comma.
func commandsOf(text string) (named []string) {
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`baton ") {
			continue
		}
		for word := range strings.SplitSeq(cells[1], ",") {
			named = append(named, strings.TrimPrefix(strings.Trim(strings.TrimSpace(word), "`"), "baton "))
		}
	}
	return named
}

// The page of commands names those that there are and no others, and each says in a sentence what it is for.
func TestThePageOfCommandsNamesThemAll(t *testing.T) {
	var cmd commands
	parser, err := newParser(&cmd)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	there, named := leavesOf(parser.Model.Node, ""), commandsOf(string(page))
	if len(there) < 20 {
		t.Fatalf("the commands are %v", there)
	}
	for _, name := range there {
		if !slices.Contains(named, name) {
			t.Errorf("docs/cli.md does not name baton %s", name)
		}
	}
	for _, name := range named {
		if !slices.Contains(there, name) {
			t.Errorf("docs/cli.md names baton %s, which is none", name)
		}
	}
	var helpless func(n *kong.Node)
	helpless = func(n *kong.Node) {
		for _, child := range n.Children {
			if child.Type == kong.CommandNode && child.Help == "" {
				t.Errorf("%s has no help", child.FullPath())
			}
			helpless(child)
		}
	}
	helpless(parser.Model.Node)
}

// What is wrong with a command line of an operator is said before anything is asked.
func TestOperatorsCommandLines(t *testing.T) {
	for args, want := range map[string]string{
		"cancel":                                       "<id>",
		"cancel x --admin=ftp://x":                     "want host:port",
		"requests --state=lost":                        "--state must be one of",
		"requests --class=gold":                        "--class must be one of",
		"top --admin=127.0.0.1:1":                      "no frontend's admin listener answers at http://127.0.0.1:1",
		"requests --api.admin_listen=127.0.0.1:1":      "http://127.0.0.1:1",
		"requests --admin=127.0.0.1:1 --admin-key=key": "connection refused",
	} {
		if err := run(t.Context(), strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("baton %s: %v, want %q in it", args, err, want)
		}
	}
	t.Setenv("BATON_ADMIN", "127.0.0.1:1")
	t.Setenv("BATON_ADMIN_KEY", "key")
	if err := run(t.Context(), []string{"top"}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("with variables: %v", err)
	}
}
