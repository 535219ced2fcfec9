package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type prefill struct {
	Slots   int           `yaml:"slots" help:"prompts at once"`
	Wait    time.Duration `yaml:"wait" help:"longest wait"`
	Engines []string      `yaml:"engines" help:"URLs"`
	Pace    pace          `yaml:"pace"`
}

type pace struct {
	Ratio float64 `yaml:"ratio" help:"share"`
	Burst uint8   `yaml:"burst" help:"most at once"`
}

type common struct {
	Name     string `yaml:"name" help:"of this process"`
	Password string `yaml:"password" help:"of NATS" secret:"true"`
}

type settings struct {
	Common  common     `yaml:",inline"`
	Level   slog.Level `yaml:"level" help:"of the log"`
	Debug   bool       `yaml:"debug" help:"more"`
	Prefill prefill    `yaml:"prefill"`
	NoTag   int        // no setting
	Hidden  int        `yaml:"-"`
}

func defaults() *settings {
	return &settings{
		Common:  common{Name: "baton"},
		Prefill: prefill{Slots: 4, Wait: 30 * time.Second, Pace: pace{Ratio: 0.5, Burst: 3}},
	}
}

func environment(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := pairs[name]
		return value, ok
	}
}

// write puts text into a file named baton.yaml and makes its folder the working directory, so
// that messages name the file as a user would.
func write(t *testing.T, text string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("baton.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFlagsBeatVariablesBeatFileBeatDefaults(t *testing.T) {
	write(t, `# all of it
name: "from file"
level: warn
prefill:
  slots: 5
  wait: 1m30s
  engines: [http://a:1, "http://b:2"]
  pace:
    ratio: 1
`)
	got := defaults()
	sources, err := Load(
		got, "baton.yaml",
		environment(map[string]string{"BATON_PREFILL_SLOTS": "6", "BATON_NAME": "from env", "BATON_DEBUG": "true"}),
		map[string]string{"prefill.slots": "7"},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Common.Name, want.Level, want.Debug = "from env", slog.LevelWarn, true
	want.Prefill = prefill{
		Slots: 7, Wait: 90 * time.Second, Engines: []string{"http://a:1", "http://b:2"},
		Pace: pace{Ratio: 1, Burst: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	wantSources := Sources{
		"name": "BATON_NAME", "password": "default", "level": "baton.yaml:3", "debug": "BATON_DEBUG",
		"prefill.slots": "--prefill.slots", "prefill.wait": "baton.yaml:6", "prefill.engines": "baton.yaml:7",
		"prefill.pace.ratio": "baton.yaml:9", "prefill.pace.burst": "default",
	}
	if diff := cmp.Diff(wantSources, sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func TestFileErrors(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string // parts of the message
	}{
		{
			"misspelt key", "prefill:\n  slot: 5\n",
			[]string{"baton.yaml: [2:3] unknown key prefill.slot, did you mean slots?", ">  2 |   slot: 5", "^"},
		},
		{
			"key far from any", "prefill:\n  temperature: 5\n",
			[]string{"unknown key prefill.temperature, want one of slots, wait, engines, pace"},
		},
		{"several faults", "nam: x\nprefill:\n  slot: 5\n", []string{"unknown key nam, did you mean name", "[3:3]"}},
		{"quoted number", "prefill: {slots: \"5\"}\n", []string{"[1:18] prefill.slots: want a whole number, such as 8"}},
		{"number with a fraction", "prefill: {slots: 5.5}\n", []string{"prefill.slots: want a whole number"}},
		{"number too large", "prefill: {pace: {burst: 300}}\n", []string{`prefill.pace.burst: got "300", which does not fit uint8`}},
		{"duration without unit", "prefill:\n  wait: 30\n", []string{`[2:9] prefill.wait: got "30", want a duration with its unit, such as 30s`}},
		{"bad duration", "prefill:\n  wait: soon\n", []string{`prefill.wait: got "soon", want a duration`}},
		{"text", "level: loud\n", []string{`level: got "loud"`, "slog: level string"}},
		{"bool", "debug: yes\n", []string{"debug: want true or false"}},
		{"number for a string", "name: 5\n", []string{"name: want a string"}},
		{"scalar for a list", "prefill: {engines: a}\n", []string{"prefill.engines: want a list of strings, such as [a, b]"}},
		{"number in a list", "prefill: {engines: [a, 5]}\n", []string{"[1:24] prefill.engines: want a string"}},
		{"scalar for a section", "prefill: 5\n", []string{"prefill is a section, want its keys below it: slots, wait, engines, pace"}},
		{"list for the file", "- a\n", []string{"the file is a section"}},
		{"nothing for a leaf", "name:\n", []string{"name: want a string"}},
		{"twice the same key", "name: a\nname: b\n", []string{"baton.yaml: [2:1]", "already defined"}},
		{"no YAML", "name: [a\n", []string{"baton.yaml: [1:7]"}},
		{"two documents", "name: a\n---\nname: b\n", []string{"a second document, want one"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write(t, tt.text)
			_, err := Load(defaults(), "baton.yaml", environment(nil), nil)
			if err == nil {
				t.Fatal("Load took it")
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q:\n%v", part, err)
				}
			}
		})
	}
}

func TestFilesWithoutSettings(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "prefill:\n", "prefill:\n  # slots: 5\n"} {
		write(t, text)
		got := defaults()
		if _, err := Load(got, "baton.yaml", environment(nil), nil); err != nil {
			t.Errorf("Load(%q) = %v", text, err)
		}
		if diff := cmp.Diff(defaults(), got); diff != "" {
			t.Errorf("Load(%q) changed (-want +got):\n%s", text, diff)
		}
	}
}

func TestMissingFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baton.yaml")
	if _, err := Load(defaults(), file, environment(nil), nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Load = %v, want an error that names %s", err, file)
	}
}

func TestVariableAndFlagErrors(t *testing.T) {
	_, err := Load(
		defaults(), "",
		environment(map[string]string{"BATON_PREFILL_WAIT": "30", "BATON_DEBUG": "1"}),
		map[string]string{"prefill.slots": "many", "prefill.slot": "1"},
	)
	const want = `variable BATON_DEBUG (debug): got "1", want true or false
flag --prefill.slots: got "many", want a whole number, such as 8
variable BATON_PREFILL_WAIT (prefill.wait): got "30", want a duration with its unit, such as 30s or 1m30s
unknown flag --prefill.slot, did you mean --prefill.slots?`
	if err == nil || err.Error() != want {
		t.Errorf("Load =\n%v\nwant\n%s", err, want)
	}
}

func TestCheckEnv(t *testing.T) {
	environ := []string{
		"HOME=/", "BATON_PREFILL_SLOTS=1", "BATON_CONFIG=x", "BATON_PREFIL_SLOTS=1", "BATON_COLOUR_OF_THE_LOGO=red",
		"BATON_SERVICE_HOST=10.0.0.1", "BATON_FRONTEND_SERVICE_PORT_HTTP=80", "BATON_PORT=tcp://10.0.0.1:80", "BATON_PORT_80_TCP_ADDR=10.0.0.1",
	}
	err := CheckEnv(defaults(), environ, "BATON_CONFIG")
	if err == nil {
		t.Fatal("CheckEnv took misspelt variables")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 ||
		lines[0] != "variable BATON_PREFIL_SLOTS sets nothing, did you mean BATON_PREFILL_SLOTS?" ||
		!strings.HasPrefix(lines[1], "variable BATON_COLOUR_OF_THE_LOGO sets nothing, want one of BATON_CONFIG, BATON_NAME") {
		t.Errorf("CheckEnv =\n%v", err)
	}
}

func TestExtract(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		rest   []string
		values map[string]string
		err    string
	}{
		{"none", []string{"up", "--nats", "nats://a.b:1", "-v"}, []string{"up", "--nats", "nats://a.b:1", "-v"}, map[string]string{}, ""},
		{
			"both forms",
			[]string{"up", "--prefill.slots=3", "--x", "--prefill.wait", "5s", "y"},
			[]string{"up", "--x", "y"},
			map[string]string{"prefill.slots": "3", "prefill.wait": "5s"},
			"",
		},
		{"negative number", []string{"--prefill.slots", "-1"}, nil, map[string]string{"prefill.slots": "-1"}, ""},
		{"bool alone", []string{"--debug", "up"}, []string{"up"}, map[string]string{"debug": "true"}, ""},
		{"bool with value", []string{"--debug=false"}, nil, map[string]string{"debug": "false"}, ""},
		{"last wins", []string{"--prefill.slots=3", "--prefill.slots=4"}, nil, map[string]string{"prefill.slots": "4"}, ""},
		{"lists grow", []string{"--prefill.engines=a", "--prefill.engines", "b,c"}, nil, map[string]string{"prefill.engines": "a,b,c"}, ""},
		{"after two dashes", []string{"--", "--prefill.slots=3"}, []string{"--", "--prefill.slots=3"}, map[string]string{}, ""},
		{"empty value", []string{"--name="}, nil, map[string]string{"name": ""}, ""},
		{"misspelt", []string{"--prefil.slots=3", "up"}, []string{"up"}, map[string]string{}, "unknown flag --prefil.slots, did you mean --prefill.slots?"},
		{"no value", []string{"--prefill.slots", "--debug"}, nil, map[string]string{"debug": "true"}, "flag --prefill.slots needs a value: a whole number, such as 8"},
		{"no value at the end", []string{"--prefill.wait"}, nil, map[string]string{}, "flag --prefill.wait needs a value: a duration with its unit, such as 30s or 1m30s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rest, values, err := Extract(tt.args, Leaves(defaults()))
			if diff := cmp.Diff(tt.rest, rest); diff != "" {
				t.Errorf("rest (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.values, values); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			message := ""
			if err != nil {
				message = err.Error()
			}
			if message != tt.err {
				t.Errorf("err = %q, want %q", message, tt.err)
			}
		})
	}
}

func TestPrintedSettingsLoadAgain(t *testing.T) {
	set := defaults()
	set.Common.Name = "a \"b\": # c"
	set.Prefill.Engines = []string{"http://a:1", "b, c"}
	var out strings.Builder
	if err := Print(&out, set, Sources{"prefill.slots": "--prefill.slots"}); err != nil {
		t.Fatal(err)
	}
	const want = `name: "a \"b\": # c"  # default
password: ""  # default
level: "INFO"  # default
debug: false  # default
prefill:
  slots: 4  # --prefill.slots
  wait: 30s  # default
  engines: ["http://a:1", "b, c"]  # default
  pace:
    ratio: 0.5  # default
    burst: 3  # default
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("Print (-want +got):\n%s", diff)
	}
	write(t, out.String())
	got := new(settings)
	if _, err := Load(got, "baton.yaml", environment(nil), nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(set, got); diff != "" {
		t.Errorf("loaded again (-want +got):\n%s", diff)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	set := defaults()
	set.Common.Password = "hunter2"
	var out strings.Builder
	if err := Print(&out, set, Sources{"password": "BATON_PASSWORD"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "# password is set but not shown  # BATON_PASSWORD") {
		t.Errorf("Print wrote\n%s", out.String())
	}
}

func TestFaultsNearASecretDoNotShowIt(t *testing.T) {
	for name, text := range map[string]string{
		"of the secret itself": "password: [hunter2]\n",
		"of a neighbour":       "password: hunter2\nslots: many\n",
		"of the syntax":        "password: hunter2\nslots: [\n",
	} {
		t.Run(name, func(t *testing.T) {
			write(t, text)
			_, err := Load(defaults(), "baton.yaml", environment(nil), nil)
			if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "baton.yaml: [") {
				t.Errorf("Load = %v, want a fault with its line and without the secret", err)
			}
		})
	}
}

func TestLeavesRefusesWhatNoFlagCanSay(t *testing.T) {
	for name, dst := range map[string]any{
		"no pointer": settings{},
		"a map": &struct {
			M map[string]int `yaml:"m"`
		}{},
		"one variable for two": &struct {
			A string `yaml:"a_b"`
			B struct {
				C string `yaml:"b"`
			} `yaml:"a"`
		}{},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("Leaves took it")
				}
			}()
			Leaves(dst)
		})
	}
}
