package chaos

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func planned(seed uint64) Config {
	return Config{Seed: seed, Duration: 20 * time.Minute, Every: 300 * time.Millisecond, Frontends: 2, Prefill: 2, Decode: 3}
}

func TestFaultsFollowFromTheSeedAlone(t *testing.T) {
	one, same, other := planned(7), planned(7), planned(8)
	if !reflect.DeepEqual(plan(&one), plan(&same)) {
		t.Error("two plans of one seed differ")
	}
	if reflect.DeepEqual(plan(&one), plan(&other)) {
		t.Error("plans of two seeds are the same")
	}
}

func TestEveryKindOfFaultComes(t *testing.T) {
	cfg := planned(1)
	came := map[Kind]bool{}
	for _, f := range plan(&cfg) {
		came[f.Kind] = true
	}
	for kind := range kinds {
		if !came[kind] {
			t.Errorf("%s never comes in %s", kind, cfg.Duration)
		}
	}
}

// A worker and its engine are one: a role has a unit of which neither is broken, or comes back, at any moment.
func TestTheLastUnitOfARoleIsNeverTaken(t *testing.T) {
	for seed := range uint64(20) {
		cfg := planned(seed)
		size := map[string]int{"frontend": cfg.Frontends, "prefill": cfg.Prefill, "decode": cfg.Decode}
		all := plan(&cfg)
		for _, f := range all {
			role := group(f.Part)
			if role == "nats" {
				continue
			}
			away := map[string]bool{}
			for _, other := range all {
				if group(other.Part) == role && other.At <= f.At && f.At < other.At+other.For+settling {
					away[unitOf(other.Part)] = true
				}
			}
			if len(away) >= size[role] {
				t.Fatalf("seed %d: at %s all of %s are away", seed, f.At, role)
			}
		}
	}
}

func unitOf(part string) string {
	for _, u := range (&Config{Frontends: 9, Prefill: 9, Decode: 9}).units() {
		if slices.Contains(u.names(), part) {
			return u.names()[0]
		}
	}
	return part
}

func TestARoleOfOneIsLeftAlone(t *testing.T) {
	cfg := planned(3)
	cfg.Frontends, cfg.Prefill = 1, 1
	for _, f := range plan(&cfg) {
		if role := group(f.Part); role == "frontend" || role == "prefill" {
			t.Fatalf("%s hits %s, which is the only one", f.Kind, f.Part)
		}
	}
}

func TestOnlyTheFaultsThatAreAskedForCome(t *testing.T) {
	cfg := planned(3)
	cfg.Faults = []Kind{NATSStop, WorkerKill}
	all := plan(&cfg)
	if len(all) == 0 {
		t.Fatal("no fault")
	}
	for _, f := range all {
		if !slices.Contains(cfg.Faults, f.Kind) {
			t.Fatalf("%s was not asked for", f.Kind)
		}
	}
}

func TestRequestsFollowFromTheirPlaceAlone(t *testing.T) {
	for n := range 50 {
		a, err := draw(5, 3, n)
		if err != nil {
			t.Fatal(err)
		}
		b, err := draw(5, 3, n)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("request %d differs when it is drawn again", n)
		}
	}
}

// Half an hour with one fault a second, as the documents have it, is a thousand faults.
func TestALongRunHasAThousandFaults(t *testing.T) {
	cfg := Config{Duration: 30 * time.Minute, Every: time.Second, Frontends: 2, Prefill: 3, Decode: 3}
	for seed := range uint64(5) {
		cfg.Seed = seed
		if n := len(plan(&cfg)); n < 1000 {
			t.Errorf("with seed %d there are %d faults", seed, n)
		}
	}
}
