package deploytest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	core "k8s.io/api/core/v1"
)

const composeDir = "../compose"

// compose reads compose.yaml against the specification's schema, with every variable of env.example filled.
func compose(t *testing.T) *types.Project {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeDir, "env.example"))
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			if value != "" {
				t.Errorf("env.example has a value for %s", name)
			}
			env = append(env, name+"=a-secret-that-is-long")
		}
	}
	opts, err := cli.NewProjectOptions([]string{filepath.Join(composeDir, "compose.yaml")}, cli.WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	project, err := opts.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	project := compose(t)
	file := filepath.Join(composeDir, "baton.yaml")
	version := loadChart(t).Metadata.AppVersion
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		s := project.Services[name]
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s mounts %s: %v", name, v.Source, err)
			}
		}
		if image, tag, _ := strings.Cut(s.Image, ":"); image == "ghcr.io/baton-llm/baton" {
			if tag != version {
				t.Errorf("%s runs baton %s, and the chart %s", name, tag, version)
			}
			if !s.ReadOnly || s.User != "65532:65532" || !slices.Equal(s.CapDrop, []string{"ALL"}) {
				t.Errorf("%s is not restricted", name)
			}
			seen[name] = true
			composedSettings(t, file, &s)
		}
	}
	if len(seen) != 3 {
		t.Errorf("baton runs as %v, want frontend, prefill and decode", seen)
	}
	if tag := project.Services["nats"].Image; tag != "nats:"+required(t, "github.com/nats-io/nats-server/v2")+"-alpine" {
		t.Errorf("NATS is %s, and baton's tests run another", tag)
	}
}

// composedSettings checks a service's command and variables as those of the chart's containers are checked, and that
// its drains fit.
func composedSettings(t *testing.T, file string, s *types.ServiceConfig) {
	t.Helper()
	c := core.Container{Args: s.Command}
	for name, value := range s.Environment {
		c.Env = append(c.Env, core.EnvVar{Name: name, Value: *value})
	}
	cfg := settings(t, file, s.Name, &c)
	drain := max(cfg.API.DrainDelay+cfg.API.DrainTimeout, cfg.Decode.DrainTimeout, cfg.Prefill.DrainTimeout) + cfg.NATS.CloseTimeout
	if grace := time.Duration(*s.StopGracePeriod); grace < drain {
		t.Errorf("%s has %v to end and may need %v", s.Name, grace, drain)
	}
	if at := slices.Index(s.Command, "--engine"); at >= 0 {
		if _, after := s.DependsOn[s.Command[0]+"-engine"]; !after || !strings.Contains(s.Command[at+1], s.Command[0]+"-engine:8100") {
			t.Errorf("%s does not stop before its engine %s", s.Name, s.Command[at+1])
		}
	}
}

// The engines get the flags that baton up gives its own, and four GPUs each that the other does not use.
func TestComposedEngines(t *testing.T) {
	project := compose(t)
	gpus := map[string]bool{}
	for _, role := range []wire.Role{wire.RolePrefill, wire.RoleDecode} {
		s := project.Services[string(role)+"-engine"]
		got := s.Entrypoint[1:]
		for _, arg := range s.Command {
			flag, value, both := strings.Cut(arg, "=")
			got = append(got, flag)
			if both {
				got = append(got, value)
			}
		}
		replace(t, got, "--host", "127.0.0.1")
		cfg := settings(t, filepath.Join(composeDir, "baton.yaml"), s.Name, &core.Container{Args: []string{"--config", "/etc/baton/baton.yaml"}})
		cfg.VLLM.Model, cfg.VLLM.TensorParallel, cfg.VLLM.Args = "meta-llama/Meta-Llama-3.1-70B-Instruct", 4, []string{"--max-model-len", "32768"}
		if want := upArguments(cfg, role); !slices.Equal(got, want) {
			t.Errorf("%s gets\n%q\nand baton up would give\n%q", s.Name, got, want)
		}
		if host := *s.Environment["VLLM_NIXL_SIDE_CHANNEL_HOST"]; host != s.Name {
			t.Errorf("handles of %s name the host %s", s.Name, host)
		}
		for gpu := range strings.SplitSeq(*s.Environment["CUDA_VISIBLE_DEVICES"], ",") {
			if gpus[gpu] {
				t.Errorf("GPU %s is used twice", gpu)
			}
			gpus[gpu] = true
		}
	}
	if len(gpus) != 8 {
		t.Errorf("%d GPUs are used, want 8", len(gpus))
	}
}
