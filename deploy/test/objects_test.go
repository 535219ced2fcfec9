package deploytest

import (
	"maps"
	"slices"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
)

// matrix is every switch of the chart, each in a release that would notice it.
var matrix = map[string]release{
	"default":            {name: "b", namespace: "n"},
	"reference":          reference,
	"minimal":            minimal,
	"three NATS":         {name: "b", namespace: "n", set: []string{"nats.builtin.replicas=3,nats.storage=file,nats.builtin.volume.storageClass=fast"}},
	"NATS with TLS":      {name: "b", namespace: "n", set: []string{"nats.tlsSecret=nats-tls,nats.usersSecret=nats-users"}},
	"external NATS":      {name: "b", namespace: "n", set: []string{`nats.builtin.enabled=false,nats.url=tls://a.example:4222\,nats://b.example,nats.credsSecret=creds,nats.tlsSecret=ca,nats.streamReplicas=3`}},
	"open NATS":          {name: "b", namespace: "n", set: []string{"nats.builtin.enabled=false,nats.url=nats://nats.nats:4222"}},
	"keys file":          {name: "b", namespace: "n", set: []string{"auth.mode=keysFile,auth.existingSecret=keys,frontend.tlsSecret=tls"}},
	"operators":          {name: "b", namespace: "n", set: []string{"auth.adminSecret=ops"}},
	"own key":            {name: "b", namespace: "n", set: []string{"auth.existingSecret=key,frontend.toolbox.enabled=true,model.tokenSecret=hf"}},
	"autoscaling":        {name: "b", namespace: "n", set: []string{"autoscaling.enabled=true,frontend.autoscaling.enabled=true"}},
	"monitoring":         {name: "b", namespace: "n", set: []string{"metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=p"}},
	"ingress":            {name: "b", namespace: "n", set: []string{"frontend.ingress.enabled=true,frontend.ingress.host=h.example,frontend.ingress.className=nginx,frontend.ingress.tlsSecret=t"}},
	"aggregated":         {name: "b", namespace: "n", set: []string{"prefill.replicas=0,decode.replicas=0,both.replicas=2,config.schedule.mode=aggregated"}},
	"RDMA":               {name: "b", namespace: "n", set: []string{"engine.rdma.resource=rdma/ib,engine.hostIPC=true,engine.runtimeClassName=nvidia,workers.topologyKey=rack,engine.apiKeySecret=e"}},
	"no policies":        {name: "b", namespace: "n", set: []string{"networkPolicy.enabled=false,podDisruptionBudget.enabled=false,serviceAccount.create=false,compatibility.dynamoLabels=false"}},
	"pinned image":       {name: "b", namespace: "n", set: []string{"image.digest=sha256:00,imagePullSecrets[0].name=pull,model.cache.existingClaim=models"}},
	"placed by hand":     {name: "b", namespace: "n", set: []string{"workers.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution=null,workers.nodeSelector.gpu=h100,frontend.nodeSelector.cpu=x,nats.builtin.nodeSelector.cpu=x,frontend.tolerations[0].operator=Exists"}},
	"names like numbers": {name: "1e3", namespace: "no", set: []string{"metrics.serviceMonitor.enabled=true,nats.builtin.replicas=3"}},
	"long name":          {name: "a-release-whose-name-is-as-long-as-helm-allows-a-name", namespace: "n"},
}

// given are Secrets and claims that releases of the matrix name and do not make.
var given = []string{"nats-tls", "nats-users", "creds", "ca", "keys", "ops", "tls", "key", "hf", "hf-token", "e", "models", "t"}

func eachRelease(t *testing.T, test func(t *testing.T, objects []object)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(matrix)) {
		t.Run(name, func(t *testing.T) { test(t, matrix[name].objects(t)) })
	}
}

// object is a rendered one as Kubernetes' own types read it.
type object struct {
	meta.Object

	kind string
	raw  runtime.Object
}

var decoder = func() runtime.Decoder {
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubernetes.AddToScheme, monitoring.AddToScheme, keda.AddToScheme} {
		if err := add(all); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(all, serializer.EnableStrict).UniversalDeserializer()
}()

// objects decodes all that a release renders. A member that Kubernetes does not know, or one twice, is a fault.
func (r release) objects(t testing.TB) (objects []object) {
	t.Helper()
	for _, d := range r.documents(t) {
		raw, kind, err := decoder.Decode([]byte(d.text), nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", d.from, err, d.text)
		}
		objects = append(objects, object{Object: raw.(meta.Object), kind: kind.Kind, raw: raw})
	}
	return objects
}

// find returns the object of a type with a name.
func find[T runtime.Object](t testing.TB, objects []object, name string) T {
	t.Helper()
	for _, o := range objects {
		if typed, ok := o.raw.(T); ok && o.GetName() == name {
			return typed
		}
	}
	var none T
	t.Fatalf("no %T is called %s", none, name)
	return none
}

// workload is a pod template and who makes pods of it.
type workload struct {
	object

	pod      core.PodTemplateSpec
	selector *meta.LabelSelector
}

func workloads(objects []object) (all []workload) {
	for _, o := range objects {
		switch w := o.raw.(type) {
		case *apps.Deployment:
			all = append(all, workload{o, w.Spec.Template, w.Spec.Selector})
		case *apps.StatefulSet:
			all = append(all, workload{o, w.Spec.Template, w.Spec.Selector})
		}
	}
	return all
}

// containers are all of a pod, those that start first, first.
func containers(pod *core.PodSpec) []core.Container {
	return slices.Concat(pod.InitContainers, pod.Containers)
}
