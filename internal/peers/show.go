package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// showCommand writes what people read of a file of figures.
type showCommand struct {
	File string `arg:"" help:"JSON file that run or scale wrote." type:"path"`
}

// Run writes it beside the file.
func (c *showCommand) Run(_ context.Context) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var kind struct {
		Growth json.RawMessage `json:"growth"` // only scale writes it
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return err
	}
	var r figures = &report{}
	if kind.Growth != nil {
		r = &growthReport{}
	}
	if err := json.Unmarshal(text, r); err != nil {
		return err
	}
	return write(r, strings.TrimSuffix(c.File, ".json"))
}

// conditions are how figures came to be.
type conditions struct {
	Date    time.Time     `json:"date"`
	Machine machine       `json:"machine"`
	Rounds  int           `json:"rounds"`
	Window  time.Duration `json:"window"`
	Absent  []absent      `json:"absent"` // what was to be measured and was not
}

func now(rounds int, window time.Duration) conditions {
	return conditions{Date: time.Now(), Machine: thisMachine(), Rounds: rounds, Window: window}
}

// String is the line above the tables, without its end.
func (c *conditions) String() string {
	return fmt.Sprintf("%s, %d rounds of %s a load, medians (lowest–highest). %s, %d cores, Linux %s, %s",
		c.Date.Format("2 January 2006"), c.Rounds, c.Window, c.Machine.CPU, c.Machine.Cores, c.Machine.Kernel, c.Machine.Go)
}

// machine is what the figures were measured on.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := bytes.Cut(text, []byte("model name\t: ")); ok {
			name, _, _ := bytes.Cut(rest, []byte("\n"))
			m.CPU = string(name)
		}
	}
	if out, err := exec.Command("uname", "-r").Output(); err == nil {
		m.Kernel = strings.TrimSpace(string(out))
	}
	return m
}
