package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
)

func TestThePictureHasWhoLivesAndWhoWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		f := newFleet(h, nil)
		stop := start(t, f.Run)
		defer stop()
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		h.say(t, worker("p1", wire.RolePrefill, "m"))
		time.Sleep(1500 * time.Millisecond)
		h.say(t, worker("p1", wire.RolePrefill, "m"))
		time.Sleep(500 * time.Millisecond)
		members := f.Members()
		if len(members) != 2 || members[0].ID != "d1" || time.Since(members[0].Heard) != 2*time.Second || time.Since(members[1].Heard) != 500*time.Millisecond {
			t.Errorf("members are %+v", members)
		}

		gone := worker("p1", wire.RolePrefill, "m")
		gone.Gone = true
		h.say(t, gone)
		time.Sleep(10 * time.Second) // d1 is silent
		synctest.Wait()
		departed := f.Departed(time.Now())
		if len(departed) != 2 || departed[0].ID != "d1" || departed[0].Why != fleet.Silent || departed[1].ID != "p1" || departed[1].Why != fleet.Left {
			t.Errorf("departed are %+v", departed)
		}
		if got := f.Departed(time.Now().Add(time.Hour)); len(got) != 0 {
			t.Errorf("an hour later departed are %+v", got)
		}
	})
}

func TestAStartUnderTheSameNameReplacesAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{}
		f := newFleet(h, nil)
		stop := start(t, f.Run)
		defer stop()
		h.say(t, worker("d1", wire.RoleDecode, "m"))
		again := worker("d1", wire.RoleDecode, "m")
		again.Started = again.Started.Add(time.Hour)
		h.say(t, again)
		if got := f.Departed(time.Now()); len(got) != 1 || got[0].Why != fleet.Replaced {
			t.Errorf("departed are %+v", got)
		}
		if len(f.Members()) != 1 {
			t.Errorf("members are %+v", f.Members())
		}
	})
}
