package deploytest

import (
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// What objects say of each other must be so: Kubernetes takes a Service that selects nothing, and no pod comes.
func TestObjectsFitTogether(t *testing.T) {
	eachRelease(t, func(t *testing.T, objects []object) {
		l := links{t: t, objects: objects, pods: workloads(objects)}
		l.names()
		for _, w := range l.pods {
			l.selected(w.GetName(), w.selector, func(p workload) bool { return p.object == w.object })
			l.pod(&w)
		}
		for _, o := range objects {
			switch o := o.raw.(type) {
			case *core.Service:
				l.service(o)
			case *policy.PodDisruptionBudget:
				l.selected("budget "+o.Name, o.Spec.Selector, nil)
			case *networking.NetworkPolicy:
				l.selected("policy "+o.Name, &o.Spec.PodSelector, nil)
			case *apps.StatefulSet:
				find[*core.Service](t, objects, o.Spec.ServiceName)
			}
		}
	})
}

type links struct {
	t       *testing.T
	objects []object
	pods    []workload
}

// names are unique by kind, and short enough for all that is made of them.
func (l *links) names() {
	seen := map[string]bool{}
	for _, o := range l.objects {
		id := o.kind + " " + o.GetName()
		if seen[id] {
			l.t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		if faults := validation.IsDNS1123Label(o.GetName() + "-0"); len(faults) > 0 {
			l.t.Errorf("%s: %v", id, faults)
		}
		for key, value := range o.GetLabels() {
			if faults := slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)); len(faults) > 0 {
				l.t.Errorf("%s: label %s=%s: %v", id, key, value, faults)
			}
		}
	}
}

// selected returns the pods that a selector selects: at least one, and all must be wanted (nil: any may be).
func (l *links) selected(who string, selector *meta.LabelSelector, wanted func(workload) bool) (pods []workload) {
	l.t.Helper()
	match, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		l.t.Fatalf("%s: %v", who, err)
	}
	for _, w := range l.pods {
		if match.Matches(labels.Set(w.pod.Labels)) {
			pods = append(pods, w)
			if wanted != nil && !wanted(w) {
				l.t.Errorf("%s selects the pods of %s", who, w.GetName())
			}
		}
	}
	if len(pods) == 0 && len(selector.MatchLabels) > 0 && !l.absent(selector) {
		l.t.Errorf("%s selects no pod: %v", who, match)
	}
	return pods
}

// absent tells whether a selector is for a kind of worker of which this release has none.
func (l *links) absent(selector *meta.LabelSelector) bool {
	component := selector.MatchLabels["app.kubernetes.io/component"]
	return (component == "prefill" || component == "decode") && !slices.ContainsFunc(l.pods, func(w workload) bool { return w.pod.Labels["app.kubernetes.io/component"] == component })
}

func (l *links) service(s *core.Service) {
	pods := l.selected("service "+s.Name, &meta.LabelSelector{MatchLabels: s.Spec.Selector}, nil)
	for _, port := range s.Spec.Ports {
		if !slices.ContainsFunc(pods, func(w workload) bool { return hasPort(&w.pod.Spec, port.TargetPort.String()) }) {
			l.t.Errorf("service %s: no pod has the port %s", s.Name, port.TargetPort.String())
		}
	}
}

func hasPort(pod *core.PodSpec, name string) bool {
	return slices.ContainsFunc(containers(pod), func(c core.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == name })
	})
}

func (l *links) pod(w *workload) {
	spec := &w.pod.Spec
	if name := spec.ServiceAccountName; name != "default" {
		find[*core.ServiceAccount](l.t, l.objects, name)
	}
	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		volumes[v.Name] = false
		l.source(w, v.VolumeSource)
	}
	if set, ok := w.raw.(*apps.StatefulSet); ok {
		for _, claim := range set.Spec.VolumeClaimTemplates {
			volumes[claim.Name] = false
		}
	}
	for _, c := range containers(spec) {
		for _, m := range c.VolumeMounts {
			if _, ok := volumes[m.Name]; !ok {
				l.t.Errorf("%s/%s mounts %s, which is no volume", w.GetName(), c.Name, m.Name)
			}
			volumes[m.Name] = true
		}
		for _, env := range c.Env {
			if from := env.ValueFrom; from != nil && from.SecretKeyRef != nil {
				l.secret(w, from.SecretKeyRef.Name, from.SecretKeyRef.Key)
			}
			if from := env.ValueFrom; from != nil && from.ResourceFieldRef != nil && from.ResourceFieldRef.ContainerName != c.Name {
				l.t.Errorf("%s/%s: %s is of the container %s", w.GetName(), c.Name, env.Name, from.ResourceFieldRef.ContainerName)
			}
		}
		for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if probe != nil && !slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == probe.HTTPGet.Port.String() }) {
				l.t.Errorf("%s/%s has no port %s to probe", w.GetName(), c.Name, probe.HTTPGet.Port.String())
			}
		}
	}
	for name, used := range volumes {
		if !used {
			l.t.Errorf("%s: nobody mounts %s", w.GetName(), name)
		}
	}
}

func (l *links) source(w *workload, v core.VolumeSource) {
	if v.Projected != nil {
		for _, s := range v.Projected.Sources {
			if s.Secret != nil {
				l.secret(w, s.Secret.Name, s.Secret.Items[0].Key)
			}
			if s.ConfigMap != nil {
				find[*core.ConfigMap](l.t, l.objects, s.ConfigMap.Name)
			}
		}
	}
	if v.ConfigMap != nil {
		find[*core.ConfigMap](l.t, l.objects, v.ConfigMap.Name)
	}
	if v.Secret != nil {
		l.secret(w, v.Secret.SecretName, "")
	}
	if claim := v.PersistentVolumeClaim; claim != nil && !slices.Contains(given, claim.ClaimName) {
		find[*core.PersistentVolumeClaim](l.t, l.objects, claim.ClaimName)
	}
}

// secret must be made, with its key (empty: any), or given.
func (l *links) secret(w *workload, name, key string) {
	l.t.Helper()
	if slices.Contains(given, name) {
		return
	}
	made := find[*core.Secret](l.t, l.objects, name)
	if _, ok := made.Data[key]; key != "" && !ok {
		l.t.Errorf("%s: the Secret %s has no %s", w.GetName(), name, key)
	}
	for key, value := range made.Data {
		if strings.TrimSpace(string(value)) == "" {
			l.t.Errorf("the Secret %s has nothing as %s", name, key)
		}
	}
}
