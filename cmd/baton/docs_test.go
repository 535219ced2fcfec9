package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/config"
)

// pagesThatRun have console blocks, whose commands TestCommandsOfDocs runs. Other pages' blocks have no language: they need
// engines, a cluster or hours, or show only a part.
var pagesThatRun = []string{"README.md", "docs/getting-started.md"}

// block is a fenced one of a page.
type block struct {
	language string
	line     int // of the page, from 1, where it begins
	text     string
}

func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(text), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{language: language, line: i + 1}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return blocks
}

// call finds a command of baton at the beginning of a line, or behind what a shell takes before one.
var call = regexp.MustCompile(`^(?:.*(?:&&|;|\$\() *)?(?:\$ )?(?:[A-Z_]+=\S* +)*(?:bin/|deploy/)?(?:go run \./cmd/)?baton +(.*)$`)

// callsOf are the arguments of baton's command lines in a block; what a shell would make of quotes and variables is left as it is.
func callsOf(b *block) (calls [][]string) {
	prompts := strings.HasPrefix(b.text, "$ ") // then the other lines are output
	for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
		if prompts && !strings.HasPrefix(line, "$ ") {
			continue
		}
		found := call.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			continue
		}
		var args []string
		for _, word := range strings.Fields(found[1]) {
			if word[0] == '#' || slices.Contains([]string{"&", "&&", "|", ">", "<", ";", "2>&1", "…"}, word) {
				break
			}
			args = append(args, strings.Trim(strings.TrimRight(word, ";)"), `"'`))
		}
		calls = append(calls, args)
	}
	return calls
}

// Every command line of baton in the pages has a command, flags and settings that there are.
func TestCommandLinesOfDocsAreRead(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "deploy/*.md", "deploy/helm/baton/*.md"} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	seen := 0
	for _, page := range pages {
		name, _ := filepath.Rel("../..", page)
		for _, b := range blocksOf(t, page) {
			if slices.Contains([]string{"console", "bash", "sh"}, b.language) && !slices.Contains(pagesThatRun, name) {
				t.Errorf("%s:%d: a block in %s that no test runs", name, b.line, b.language)
			}
			for _, args := range callsOf(&b) {
				seen++
				if err := readable(args); err != nil {
					t.Errorf("%s:%d: baton %s: %v", name, b.line, strings.Join(args, " "), err)
				}
			}
		}
	}
	if seen < 60 {
		t.Errorf("%d command lines found; are the pages still there?", seen)
	}
}

// readable reads a command line as run does, and runs nothing.
func readable(args []string) error {
	cfg := app.DefaultConfig()
	rest, flags, err := config.Extract(args, config.Leaves(&cfg))
	if err != nil {
		return err
	}
	var cmd commands
	parser, err := newParser(&cmd)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(rest); err != nil && !strings.Contains(err.Error(), "no such file") {
		return err
	}
	cmd.shorthands(flags)
	_, err = config.Load(&cfg, "", func(string) (string, bool) { return "", false }, flags)
	return err
}
