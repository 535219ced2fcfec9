package fleet_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
)

// server is what a NATS server knows of the one worker there is.
type server struct {
	mu         sync.Mutex
	connection uint64
	deserted   bool
}

func (s *server) Connection() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connection
}

func (s *server) Deserted(ctx context.Context, subject string, data []byte) bool {
	if subject != wire.ControlSubject("d1") || wire.ReadControls(data, func(string, wire.Control) { panic("a control") }) != nil {
		panic("the worker could take it for something else")
	}
	s.mu.Lock()
	deserted := s.deserted
	s.mu.Unlock()
	if !deserted {
		<-ctx.Done() // nobody answers
	}
	return deserted
}

func (s *server) leave(deserted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deserted = deserted
}

// restart is what a process sees that has made its connection anew.
func (s *server) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connection++
}

// watched runs f with a fleet that has heard decode worker d1 each second for the last three.
func watched(t *testing.T, f func(t *testing.T, all *fleet.Fleet, s *server, speak func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, s := &hub{}, &server{connection: 1}
		all := newFleet(h, nil)
		all.Watch(s)
		defer start(t, all.Run)()
		speak := func() { h.say(t, worker("d1", wire.RoleDecode, "m")) }
		for range 3 {
			speak()
			time.Sleep(time.Second)
		}
		speak()
		f(t, all, s, speak)
	})
}

func TestWorkerThatHasLeftTheServerDiesSoon(t *testing.T) {
	watched(t, func(t *testing.T, all *fleet.Fleet, s *server, _ func()) {
		s.leave(true)
		time.Sleep(2500 * time.Millisecond)
		if !all.Alive("d1") {
			t.Error("it died before a live worker can have connected again")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if all.Alive("d1") {
			t.Error("3.5 s after its last word it counts as alive")
		}
	})
}

// None of these is dead, and none may die before three of its announcements are missed.
func TestWorkerThatComesBackToTheServerLives(t *testing.T) {
	for name, during := range map[string]func(s *server, speak func()){
		"its connection breaks": func(s *server, speak func()) {
			for range 5 {
				s.leave(true)
				time.Sleep(2600 * time.Millisecond) // 1.35 s of it after its announcement is late
				s.leave(false)
				time.Sleep(400 * time.Millisecond)
				speak()
			}
		},
		"it is slow": func(*server, func()) { time.Sleep(3900 * time.Millisecond) },
		"the server restarts": func(s *server, _ func()) {
			s.restart()
			s.leave(true)
			time.Sleep(3900 * time.Millisecond)
			s.leave(false)
		},
		"the server restarts, and what it had said before is read late": func(s *server, speak func()) {
			s.restart()
			s.leave(true)
			speak()
			time.Sleep(3900 * time.Millisecond)
		},
		"it and then the server go": func(s *server, _ func()) {
			s.leave(true)
			time.Sleep(2 * time.Second)
			s.restart()
			time.Sleep(1900 * time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, func(t *testing.T, all *fleet.Fleet, s *server, speak func()) {
				during(s, speak)
				synctest.Wait()
				if !all.Alive("d1") {
					t.Error("it counts as dead")
				}
			})
		})
	}
}
