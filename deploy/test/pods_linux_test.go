package deploytest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// node runs the containers of pods as processes of this machine: not as Kubernetes isolates them, but by the commands,
// variables, files, probes and grace periods that the pods' specs say. Each pod is at a loopback address of its own.
type node struct {
	t       *testing.T
	baton   string            // the binary, for all containers of baton's image
	objects []object          // where Secrets and ConfigMaps are
	names   map[string]string // what names resolve to, ports included
	pods    byte
}

// runningPod is one pod. Its containers end with the test, if not before.
type runningPod struct {
	node       *node
	name, ip   string
	spec       *core.PodSpec
	containers []*exec.Cmd
	logs       bytes.Buffer // of all of them; read it only when they have ended
}

// bound is how long anything may take that takes moments.
const bound = 60 * time.Second

func newNode(t *testing.T, objects []object, names map[string]string) *node {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "baton")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-X "+versionVariable(t)+"=v"+loadChart(t).Metadata.AppVersion, "-o", binary, "./cmd/baton")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build baton: %v\n%s", err, out)
	}
	return &node{t: t, baton: binary, objects: objects, names: names}
}

// versionVariable is what the Dockerfile tells its build the version by.
func versionVariable(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`-X (\S+)=\$VERSION`).FindSubmatch(text)
	if found == nil {
		t.Fatal("the Dockerfile tells its build no version")
	}
	return string(found[1])
}

// run starts a pod as the kubelet does: each sidecar until its startup probe succeeds, then the containers.
func (n *node) run(name string, spec *core.PodSpec) *runningPod {
	n.t.Helper()
	n.pods++
	p := &runningPod{node: n, name: name, ip: fmt.Sprintf("127.77.0.%d", n.pods), spec: spec}
	n.t.Cleanup(func() {
		for _, c := range p.containers {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		if n.t.Failed() {
			n.t.Logf("%s:\n%s", name, p.logs.String())
		}
	})
	for i := range spec.InitContainers {
		p.start(&spec.InitContainers[i])
		p.probe(&spec.InitContainers[i], spec.InitContainers[i].StartupProbe)
	}
	for i := range spec.Containers {
		p.start(&spec.Containers[i])
	}
	for i := range spec.Containers {
		p.probe(&spec.Containers[i], spec.Containers[i].StartupProbe)
	}
	return p
}

func (p *runningPod) start(c *core.Container) {
	p.node.t.Helper()
	var env []string
	for _, e := range c.Env {
		value := e.Value
		if from := e.ValueFrom; from != nil && from.SecretKeyRef != nil {
			value = string(find[*core.Secret](p.node.t, p.node.objects, from.SecretKeyRef.Name).Data[from.SecretKeyRef.Key])
		} else if from != nil && from.FieldRef != nil {
			value = p.ip // status.podIP alone is asked for
		} else if from != nil {
			value = fmt.Sprint(c.Resources.Limits.Memory().Value())
		}
		env = append(env, e.Name+"="+value)
	}
	text, err := os.ReadFile(configFile(p.node.t, p.node.objects))
	if err != nil {
		p.node.t.Fatal(err)
	}
	file := filepath.Join(p.node.t.TempDir(), "baton.yaml")
	if err := os.WriteFile(file, []byte(p.local(string(text))), 0o600); err != nil {
		p.node.t.Fatal(err)
	}
	var args []string
	for _, arg := range c.Args {
		args = append(args, strings.ReplaceAll(p.local(arg), "/etc/baton/baton.yaml", file))
	}
	cmd := exec.CommandContext(p.node.t.Context(), p.node.baton, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &p.logs, &p.logs
	if err := cmd.Start(); err != nil {
		p.node.t.Fatal(err)
	}
	p.containers = append(p.containers, cmd)
}

var wildcard = regexp.MustCompile(`(\b0\.0\.0\.0|\b127\.0\.0\.1|\$\(POD_IP\)|(^|[ =])):(\d)`)

// local is text with this pod's address wherever a pod means itself, and with the addresses of names.
func (p *runningPod) local(text string) string {
	text = wildcard.ReplaceAllString(text, "${2}"+p.ip+":${3}")
	for name, at := range p.node.names {
		text = strings.ReplaceAll(text, name, at)
	}
	return text
}

func (p *runningPod) url(c *core.Container, port, path string) string {
	p.node.t.Helper()
	for _, have := range c.Ports {
		if have.Name == port {
			return "http://" + net.JoinHostPort(p.ip, fmt.Sprint(have.ContainerPort)) + path
		}
	}
	p.node.t.Fatalf("%s/%s has no port %s", p.name, c.Name, port)
	return ""
}

func (p *runningPod) probe(c *core.Container, probe *core.Probe) {
	p.node.t.Helper()
	await(p.node.t, p.name+"/"+c.Name+" "+probe.HTTPGet.Path, func() bool {
		answer, err := http.Get(p.url(c, probe.HTTPGet.Port.String(), probe.HTTPGet.Path))
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
}

// ready waits for the readiness of the pod's first container.
func (p *runningPod) ready() { p.probe(&p.spec.Containers[0], p.spec.Containers[0].ReadinessProbe) }

// stop ends the pod as the kubelet does: the containers, and when they have ended the sidecars; all within the grace period.
func (p *runningPod) stop() {
	p.node.t.Helper()
	kill := time.AfterFunc(min(bound, time.Duration(*p.spec.TerminationGracePeriodSeconds)*time.Second), func() {
		for _, c := range p.containers {
			_ = c.Process.Kill()
		}
	})
	defer kill.Stop()
	sidecars := len(p.spec.InitContainers)
	for _, c := range append(p.containers[sidecars:], p.containers[:sidecars]...) {
		if err := c.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.node.t.Errorf("%s: %v", p.name, err)
		}
		if err := c.Wait(); err != nil {
			p.node.t.Errorf("%s: %v ended with %v", p.name, c.Args, err)
		}
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	end, tick := time.NewTimer(bound), time.NewTicker(20*time.Millisecond)
	defer end.Stop()
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("waited %v for %s", bound, what)
		}
	}
}

// freePorts are ports that nobody has at the pods' addresses.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.77.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // all are held until each is known
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
