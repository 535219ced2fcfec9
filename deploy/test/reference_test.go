package deploytest

import (
	"os"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The published guide to the reference benchmark says
//
//	kubectl port-forward svc/llama3-disagg-frontend -n dynamo-cloud 8000:8000
//	kubectl get pods -n dynamo-cloud -l nvidia.com/dynamo-component-type=frontend -o jsonpath="{.items[0].metadata.name}"
//	kubectl exec -it -n dynamo-cloud $FRONTEND_POD -- /bin/bash -c 'python3 … --port 8000 …'
//
// and asks for the model without a key. With the reference values all of that finds what it looks for.
func TestTheGuidesCommands(t *testing.T) {
	objects := reference.objects(t)
	service := find[*core.Service](t, objects, "llama3-disagg-frontend")
	if port := service.Spec.Ports[0]; port.Port != 8000 || port.TargetPort.String() != "http" {
		t.Errorf("the service's port is %+v", port)
	}
	guide, err := labels.Parse("nvidia.com/dynamo-component-type=frontend")
	if err != nil {
		t.Fatal(err)
	}
	var pods []workload
	for _, w := range workloads(objects) {
		if guide.Matches(labels.Set(w.pod.Labels)) {
			pods = append(pods, w)
		}
	}
	if len(pods) != 1 || !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pods[0].pod.Labels)) {
		t.Fatalf("the label finds %d workloads, want the frontends alone", len(pods))
	}
	pod := &pods[0].pod
	container := pod.Spec.Containers[slices.IndexFunc(pod.Spec.Containers, func(c core.Container) bool {
		return c.Name == pod.Annotations["kubectl.kubernetes.io/default-container"]
	})]
	if !strings.HasPrefix(container.Image, "vllm/") || container.Command[0] != "/bin/bash" {
		t.Errorf("kubectl exec leads to %s, which may have neither bash nor Python", container.Image)
	}
	if at := slices.IndexFunc(container.VolumeMounts, func(m core.VolumeMount) bool { return m.MountPath == container.WorkingDir }); at < 0 {
		t.Error("the guide's client is downloaded to a folder that cannot be written")
	}
	baton := pod.Spec.Containers[0]
	cfg := settings(t, configFile(t, objects), "frontend", &baton)
	if cfg.API.Listen != ":8000" || !cfg.API.Auth.InsecureOpen || cfg.API.TLSCert != "" {
		t.Errorf("the guide's curl is not served: %+v", cfg.API)
	}
}

// The reference deployment: one node with eight GPUs, four for prefill and four for decode, and the model of the guide.
func TestReferenceIsFourAndFourOnOneNode(t *testing.T) {
	objects := reference.objects(t)
	total := int64(0)
	for _, name := range []string{"llama3-disagg-prefill", "llama3-disagg-decode"} {
		set := find[*apps.StatefulSet](t, objects, name)
		engine := set.Spec.Template.Spec.InitContainers[0]
		if engine.Args[0] != "meta-llama/Meta-Llama-3.1-70B-Instruct" {
			t.Errorf("%s serves %s", name, engine.Args[0])
		}
		gpus := engine.Resources.Limits["nvidia.com/gpu"]
		total += gpus.Value() * int64(*set.Spec.Replicas)
		near := set.Spec.Template.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		if len(near) != 1 || near[0].TopologyKey != "kubernetes.io/hostname" || !matches(t, near[0].LabelSelector, set.Spec.Template.Labels) {
			t.Errorf("%s may be on another node, or on none: %+v", name, near)
		}
	}
	if total != 8 {
		t.Errorf("%d GPUs, want 8", total)
	}
	policy := find[*networking.NetworkPolicy](t, objects, "llama3-disagg-frontend")
	if len(policy.Spec.Ingress[0].From) != 1 {
		t.Error("an open frontend is reached from everywhere")
	}
}

func matches(t *testing.T, selector *meta.LabelSelector, set map[string]string) bool {
	t.Helper()
	match, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return match.Matches(labels.Set(set))
}

// Images have the versions that the repository says.
func TestImagesHaveTheirVersions(t *testing.T) {
	chart := loadChart(t)
	frontend := find[*apps.Deployment](t, release{name: "b", namespace: "n"}.objects(t), "b-frontend")
	if image := frontend.Spec.Template.Spec.Containers[0].Image; image != "ghcr.io/baton-llm/baton:"+chart.Metadata.AppVersion {
		t.Errorf("the image is %s, and the chart is of baton %s", image, chart.Metadata.AppVersion)
	}
	nats := find[*apps.StatefulSet](t, release{name: "b", namespace: "n"}.objects(t), "b-nats")
	if image, want := nats.Spec.Template.Spec.Containers[0].Image, "nats:"+required(t, "github.com/nats-io/nats-server/v2")+"-alpine"; image != want {
		t.Errorf("the chart runs %s, and baton's tests %s", image, want)
	}
}

// required is the version of a module that baton's go.mod requires, without its v.
func required(t *testing.T, module string) string {
	t.Helper()
	text, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), module+" v")
	version, _, _ := strings.Cut(after, "\n")
	return strings.Fields(version)[0]
}
