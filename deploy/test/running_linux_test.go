package deploytest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// The chart with simulated engines, run: NATS by its configuration with users and permissions, every container by its
// command. A request goes from the frontend over a prefill engine to a decode engine, and all pods end in time.
func TestTheChartRuns(t *testing.T) {
	ports := freePorts(t, 4)
	r := release{name: "try", namespace: "default", files: minimal.files, set: []string{
		fmt.Sprintf("metrics.port=%d,engine.port=%d,engine.sidePort=%d,config.api.listen=:%d", ports[0], ports[1], ports[2], ports[3]),
		"auth.mode=generated,engine.apiKeySecret=try-api-key,autoscaling.enabled=true",
	}}
	objects := r.objects(t)
	server := natsdtest.Start(t, natsConf(t, objects, "try-nats", 0))
	n := newNode(t, objects, map[string]string{"nats://try-nats-0.try-nats-servers:4222": server.URL()})
	pods := []*runningPod{
		n.run("try-frontend", &find[*apps.Deployment](t, objects, "try-frontend").Spec.Template.Spec),
		n.run("try-prefill-0", &find[*apps.StatefulSet](t, objects, "try-prefill").Spec.Template.Spec),
		n.run("try-decode-0", &find[*apps.StatefulSet](t, objects, "try-decode").Spec.Template.Spec),
	}
	frontend := pods[0]
	frontend.ready()

	key := string(find[*core.Secret](t, objects, "try-api-key").Data["api-key"])
	body := fmt.Sprintf(`{"model":"meta-llama/Meta-Llama-3.1-70B-Instruct","max_tokens":20,"prompt":%q}`, strings.Repeat("Write a quick sort in Python. ", 200))
	url := fmt.Sprintf("http://%s:%d/v1/completions", frontend.ip, ports[3])
	if status, _, text := post(t, url, "", body); status != http.StatusUnauthorized {
		t.Errorf("without a key: %d %s", status, text)
	}
	status, header, text := post(t, url, key, body)
	if status != http.StatusOK || !strings.Contains(text, `"completion_tokens":20`) || header.Get("X-Baton-Path") != "split" {
		t.Errorf("with a key: %d, path %q, %s", status, header.Get("X-Baton-Path"), text)
	}
	version, err := http.Get(frontend.url(&frontend.spec.Containers[0], "metrics", "/version"))
	if err != nil {
		t.Fatal(err)
	}
	defer version.Body.Close()
	if said, err := io.ReadAll(version.Body); err != nil || !strings.Contains(string(said), `"v`+loadChart(t).Metadata.AppVersion+`"`) {
		t.Errorf("the version is %s (%v), and the image's tag %s", said, err, loadChart(t).Metadata.AppVersion)
	}
	scalers(t, objects, pods)

	for _, p := range pods {
		p.stop()
	}
}

func post(t *testing.T, url, key, body string) (status int, header http.Header, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Baton-Timing", "1")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(all)
}

// scalers checks that what the ScaledObjects ask Prometheus for is there.
func scalers(t *testing.T, objects []object, pods []*runningPod) {
	t.Helper()
	var metrics strings.Builder
	for _, p := range pods {
		answer, err := http.Get(p.url(&p.spec.Containers[0], "metrics", "/metrics"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&metrics, answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	asked := regexp.MustCompile(`(baton_\w+)\{(queue="\w+")?`)
	for _, role := range []string{"prefill", "decode"} {
		for _, trigger := range find[*keda.ScaledObject](t, objects, "try-"+role).Spec.Triggers {
			parts := asked.FindStringSubmatch(trigger.Metadata["query"])
			if parts == nil {
				t.Fatalf("query %s", trigger.Metadata["query"])
			}
			if want := regexp.MustCompile(`(?m)^` + parts[1] + `\{[^}]*` + parts[2]); !want.MatchString(metrics.String()) {
				t.Errorf("no process has %s with %s, which %s is scaled by", parts[1], parts[2], role)
			}
		}
	}
}

// natsConf is what the built-in server reads, as one text that a server on loopback addresses can use.
func natsConf(t *testing.T, objects []object, name string, ordinal int) string {
	t.Helper()
	files := find[*core.ConfigMap](t, objects, name).Data
	set := find[*apps.StatefulSet](t, objects, name)
	for _, env := range set.Spec.Template.Spec.Containers[0].Env {
		if from := env.ValueFrom.SecretKeyRef; from != nil {
			t.Setenv(env.Name, string(find[*core.Secret](t, objects, from.Name).Data[from.Key]))
		}
	}
	t.Setenv("POD_NAME", fmt.Sprintf("%s-%d", name, ordinal))
	return strings.NewReplacer(
		"include users.conf", files["users.conf"], "/run/nats/nats.pid", t.TempDir()+"/nats.pid",
		"http: 0.0.0.0:8222", "http: 127.0.0.1:-1", "/data", t.TempDir(),
	).Replace(files["nats.conf"])
}

// The users of the built-in server are those that baton nats permissions prints.
func TestUsersAreBatons(t *testing.T) {
	const file = chartDir + "/files/users.conf"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := bus.PrintPermissions(&want, "", ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is out of date: go run ./cmd/baton nats permissions > deploy/helm/baton/files/users.conf", file)
	}
}

// Three built-in servers find each other by the names in their Secret, and hold the queues together.
func TestThreeServersAreOne(t *testing.T) {
	ports := freePorts(t, 3)
	r := release{name: "try", namespace: "default", files: minimal.files, set: []string{
		fmt.Sprintf("metrics.port=%d,config.api.listen=:%d,nats.builtin.replicas=3,nats.storage=file", ports[0], ports[1]),
		"config.nats.prefill_queue.max_bytes=1048576,config.nats.decode_queue.max_bytes=1048576,config.nats.body_max_bytes=1048576",
	}}
	objects := r.objects(t)
	secret := find[*core.Secret](t, objects, "try-nats-users")
	names := map[string]string{}
	servers := make([]*natsdtest.Server, 3)
	for i := range servers {
		conf := strings.ReplaceAll(natsConf(t, objects, "try-nats", i), "include cluster.conf", string(secret.Data["cluster.conf"]))
		for other := range servers {
			conf = strings.ReplaceAll(conf, fmt.Sprintf("try-nats-%d.try-nats-servers:6222", other), fmt.Sprintf("127.77.1.%d:%d", other+1, ports[2]))
		}
		servers[i] = natsdtest.Start(t, strings.ReplaceAll(conf, "listen: 0.0.0.0:6222", fmt.Sprintf("listen: 127.77.1.%d:%d", i+1, ports[2])))
		names[fmt.Sprintf("nats://try-nats-%d.try-nats-servers:4222", i)] = servers[i].URL()
	}
	n := newNode(t, objects, names)
	spec := &find[*apps.Deployment](t, objects, "try-frontend").Spec.Template.Spec
	frontend := n.run("try-frontend", spec) // it lives only once it has made queues that three servers hold
	servers[0].Stop()
	frontend.probe(&spec.Containers[0], spec.Containers[0].LivenessProbe)
	frontend.stop()
}
