package deploytest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/config"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// Every setting that a container has, from the ConfigMap, its variables and its flags, is one of baton's, and the
// whole is valid.
func TestSettingsAreBatons(t *testing.T) {
	eachRelease(t, func(t *testing.T, objects []object) {
		file := configFile(t, objects)
		for _, w := range workloads(objects) {
			for _, c := range containers(&w.pod.Spec) {
				if isBaton(&c) {
					settings(t, file, w.GetName()+"/"+c.Name, &c)
				}
			}
		}
	})
}

func isBaton(c *core.Container) bool {
	return c.Name == "baton" || len(c.Args) > 0 && c.Args[0] == "engine"
}

// configFile is the ConfigMap's baton.yaml as a file.
func configFile(t testing.TB, objects []object) string {
	t.Helper()
	for _, o := range objects {
		if m, ok := o.raw.(*core.ConfigMap); ok && m.Data["baton.yaml"] != "" {
			file := filepath.Join(t.TempDir(), "baton.yaml")
			if err := os.WriteFile(file, []byte(m.Data["baton.yaml"]), 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
	}
	t.Fatal("no ConfigMap has baton.yaml")
	return ""
}

// settings are what a container's baton reads.
func settings(t testing.TB, file, who string, c *core.Container) *app.Config {
	t.Helper()
	cfg := app.DefaultConfig()
	rest, flags, err := config.Extract(c.Args, config.Leaves(&cfg))
	if err != nil {
		t.Errorf("%s: %v", who, err)
	}
	if at := slices.Index(rest, "--config"); at < 0 || rest[at+1] != "/etc/baton/baton.yaml" {
		t.Errorf("%s does not read the ConfigMap: %v", who, rest)
	}
	var environ []string
	values := map[string]string{}
	for _, env := range c.Env {
		environ = append(environ, env.Name+"="+env.Value)
		if env.ValueFrom != nil {
			env.Value = "a-secret-that-is-long" // also as a key
		}
		values[env.Name] = env.Value
	}
	_, err = config.Load(&cfg, file, func(name string) (string, bool) { v, ok := values[name]; return v, ok }, flags)
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	if err := config.CheckEnv(&cfg, environ); err != nil {
		t.Errorf("%s: %v", who, err)
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("%s: %v", who, err)
	}
	return &cfg
}

// A container's setting wins over what the chart makes of other values.
func TestConfigWins(t *testing.T) {
	objects := release{name: "b", namespace: "n", set: []string{"config.schedule.mode=split,config.nats.request_timeout=7s,config.api.sse_keepalive=15s,nats.storage=file"}}.objects(t)
	frontend := find[*apps.Deployment](t, objects, "b-frontend")
	cfg := settings(t, configFile(t, objects), "frontend", &frontend.Spec.Template.Spec.Containers[0])
	if cfg.Schedule.Mode != "split" || cfg.NATS.RequestTimeout != 7*time.Second || cfg.NATS.Storage != "file" || cfg.API.SSEKeepalive != 15*time.Second {
		t.Errorf("settings are %+v, %+v", cfg.Schedule, cfg.NATS)
	}
	if cfg.API.Listen != ":8000" {
		t.Errorf("api.listen = %q", cfg.API.Listen)
	}
}

// Kubernetes kills a pod at the end of its grace period: all that baton may take to drain, and what its engine may take
// to stop after it, is within.
func TestPodsHaveTimeToDrain(t *testing.T) {
	eachRelease(t, func(t *testing.T, objects []object) {
		file := configFile(t, objects)
		for _, w := range workloads(objects) {
			at := slices.IndexFunc(w.pod.Spec.Containers, func(c core.Container) bool { return c.Name == "baton" })
			if at < 0 {
				continue
			}
			cfg := settings(t, file, w.GetName(), &w.pod.Spec.Containers[at])
			drain := cfg.API.DrainDelay + cfg.API.DrainTimeout
			if len(w.pod.Spec.InitContainers) > 0 {
				const engineStops = 30 * time.Second // engine.stopSeconds
				drain = max(cfg.Prefill.DrainTimeout, cfg.Decode.DrainTimeout) + engineStops
			}
			drain += cfg.NATS.CloseTimeout
			if grace := time.Duration(*w.pod.Spec.TerminationGracePeriodSeconds) * time.Second; grace < drain || grace > drain+time.Minute {
				t.Errorf("%s has %v to end and may need %v", w.GetName(), grace, drain)
			}
		}
	})
}

// An engine serves as long as its worker: it starts before, and stops after it.
func TestEnginesOutliveTheirWorkers(t *testing.T) {
	eachRelease(t, func(t *testing.T, objects []object) {
		for _, o := range objects {
			set, ok := o.raw.(*apps.StatefulSet)
			if !ok || !strings.HasPrefix(set.Spec.Template.Labels["app.kubernetes.io/name"], "baton") {
				continue
			}
			engine := set.Spec.Template.Spec.InitContainers[0]
			if engine.RestartPolicy == nil || *engine.RestartPolicy != core.ContainerRestartPolicyAlways || engine.StartupProbe == nil {
				t.Errorf("%s: the engine is no sidecar with a startup probe: %+v", set.Name, engine)
			}
			cfg := settings(t, configFile(t, objects), set.Name, &set.Spec.Template.Spec.Containers[0])
			if want := fmt.Sprintf("http://127.0.0.1:%d", engine.Ports[0].ContainerPort); cfg.Worker.Engine != want {
				t.Errorf("%s: the worker's engine is %s, and the engine's container serves at %s", set.Name, cfg.Worker.Engine, want)
			}
		}
	})
}

// The keys of operators are where the frontend looks for them.
func TestOperatorsKeysAreMounted(t *testing.T) {
	objects := release{name: "b", namespace: "n", set: []string{"auth.adminSecret=ops"}}.objects(t)
	pod := &find[*apps.Deployment](t, objects, "b-frontend").Spec.Template.Spec
	file := settings(t, configFile(t, objects), "frontend", &pod.Containers[0]).API.AdminKeysFile
	at := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == path.Dir(file) && m.SubPath == "" })
	if at < 0 || path.Base(file) != "admin.yaml" {
		t.Fatalf("api.admin_keys_file is %q, which no volume has", file)
	}
	mount := pod.Containers[0].VolumeMounts[at]
	if v := slices.IndexFunc(pod.Volumes, func(v core.Volume) bool {
		return v.Name == mount.Name && v.Secret != nil && v.Secret.SecretName == "ops"
	}); v < 0 || !mount.ReadOnly {
		t.Errorf("%s is not the Secret's: %+v", mount.MountPath, pod.Volumes)
	}
}
