package deploytest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/vllm"
	"github.com/baton-llm/baton/internal/wire"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// The chart's engines get the flags that baton up gives its own.
func TestEnginesGetBatonsFlags(t *testing.T) {
	r := release{name: "b", namespace: "n", set: []string{"both.replicas=1,engine.leaseSeconds=45,decode.slots=100,decode.args={--seed,1},prefill.args={--seed,2},model.args={--max-model-len,32768}"}}
	objects := r.objects(t)
	for _, role := range []wire.Role{wire.RolePrefill, wire.RoleDecode, wire.RoleBoth} {
		set := find[*apps.StatefulSet](t, objects, "b-"+string(role))
		cfg := settings(t, configFile(t, objects), set.Name, &set.Spec.Template.Spec.Containers[0])
		cfg.VLLM.Model = "meta-llama/Meta-Llama-3.1-70B-Instruct"
		cfg.VLLM.TensorParallel = 4
		cfg.VLLM.Args = []string{"--max-model-len", "32768"}
		cfg.VLLM.DecodeArgs = []string{"--seed", "1"}
		cfg.VLLM.PrefillArgs = []string{"--seed", "2"}
		own := upArguments(cfg, role)
		engine := &set.Spec.Template.Spec.InitContainers[0]
		got := slices.Concat(engine.Command[1:], engine.Args)
		replace(t, got, "--host", "127.0.0.1") // in a pod the kubelet asks it, too
		if want := fmt.Sprintf("%q", own); fmt.Sprintf("%q", got) != want {
			t.Errorf("%s: the engine gets\n%q\nand baton up would give\n%s", role, got, want)
		}
		if gpus := engine.Resources.Limits["nvidia.com/gpu"]; gpus.Value() != 4 {
			t.Errorf("%s has %v GPUs and a tensor parallel size of 4", role, gpus.String())
		}
	}
}

// upArguments are those of the vllm program below baton up.
func upArguments(cfg *app.Config, role wire.Role) []string {
	return cfg.VLLM.Arguments(&vllm.Engine{Role: role, Port: 8100, SidePort: 5600}, &vllm.Bounds{
		PrefillBatch: cfg.Up.PrefillBatch, DecodeBatch: cfg.Up.DecodeBatch, DecodeChunk: cfg.Up.DecodeChunk, Slots: cfg.Decode.Slots, Lease: cfg.Prefill.Lease,
	})
}

// replace changes a flag's value, which must be there.
func replace(t *testing.T, args []string, flag, value string) {
	t.Helper()
	at := slices.Index(args, flag)
	if at < 0 {
		t.Fatalf("%q has no %s", args, flag)
	}
	args[at+1] = value
}

// Handles name the pod's address, which engines of other pods reach; a lease is the same for all who count on it.
func TestEnginesAreFound(t *testing.T) {
	for _, r := range []release{{name: "b", namespace: "n", set: []string{"engine.leaseSeconds=45"}}, {name: "b", namespace: "n", files: minimal.files, set: []string{"engine.leaseSeconds=45"}}} {
		objects := r.objects(t)
		set := find[*apps.StatefulSet](t, objects, "b-prefill")
		engine := &set.Spec.Template.Spec.InitContainers[0]
		if at := slices.IndexFunc(engine.Env, func(e core.EnvVar) bool { return e.Name == "POD_IP" }); at != 0 || engine.Env[at].ValueFrom.FieldRef.FieldPath != "status.podIP" {
			t.Errorf("POD_IP is not the first variable, which others refer to: %+v", engine.Env)
		}
		said := fmt.Sprint(engine.Env, engine.Args)
		if !strings.Contains(said, "$(POD_IP)") || !strings.Contains(said, "5600") {
			t.Errorf("nothing says where the side channel is: %s", said)
		}
		cfg := settings(t, configFile(t, objects), set.Name, &set.Spec.Template.Spec.Containers[0])
		if lease := cfg.Prefill.Lease; lease.Seconds() != 45 || cfg.Router.Linger != lease || cfg.Schedule.Lease <= lease || !strings.Contains(said, "45") && cfg.Sim.Lease != lease {
			t.Errorf("leases differ: %v, %v, %v, %v", lease, cfg.Router.Linger, cfg.Schedule.Lease, cfg.Sim.Lease)
		}
	}
}

// The container runtime lets nobody in: no root, no writable root, no capabilities but what RDMA needs.
func TestContainersAreRestricted(t *testing.T) {
	eachRelease(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(objects) {
			pod := w.pod.Spec
			if *pod.AutomountServiceAccountToken || !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault || *pod.EnableServiceLinks {
				t.Errorf("%s: %+v", w.GetName(), pod.SecurityContext)
			}
			for _, c := range containers(&pod) {
				s := c.SecurityContext
				if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
					t.Errorf("%s/%s: %+v", w.GetName(), c.Name, s)
				}
				if added := s.Capabilities.Add; len(added) > 0 && (c.Name != "engine" || !slices.Equal(added, []core.Capability{"IPC_LOCK"})) {
					t.Errorf("%s/%s gets %v", w.GetName(), c.Name, added)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
					t.Errorf("%s/%s has no bound for memory or no CPU: %+v", w.GetName(), c.Name, c.Resources)
				}
			}
		}
	})
}
