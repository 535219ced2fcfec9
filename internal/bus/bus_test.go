package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAJobThatIsFinishedIsOutOfTheQueue(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		d := f.one("m")
		if err := d.Finish(); err != nil {
			f.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		f.depth(0)
		if err := d.Done(f.Context()); !errors.Is(err, bus.ErrSettled) {
			f.Errorf("second settling = %v, want ErrSettled", err)
		}
	})
}

func TestAJobThatIsFinishedLastIsOutOfTheQueueWhenTheBusIsClosed(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		other, err := bus.Connect(f.Context(), bus.DefaultConfig(), "other", f.server, prometheus.NewRegistry(), quiet)
		if err != nil {
			f.Fatal(err)
		}
		got := f.fetch(other, "m", 1, time.Minute)
		if len(got) != 1 || got[0].Finish() != nil {
			f.Fatalf("fetched %d jobs, want one that can be finished", len(got))
		}
		other.Close()
		f.depth(0)
	})
}

func TestJobIsDeliveredWholeAndLeavesTheQueueWhenDone(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		want := job("meta/llama 3.1", 1)
		f.publish(want)
		time.Sleep(7 * time.Second)
		d := f.one(want.Model)
		if diff := cmp.Diff(*want, d.Job); diff != "" {
			f.Error(diff)
		}
		if d.Deliveries != 1 || d.Queued.Round(time.Second) != 7*time.Second {
			f.Errorf("Deliveries = %d, Queued = %v; want 1, 7s", d.Deliveries, d.Queued)
		}
		f.depth(1)
		if err := d.Done(f.Context()); err != nil {
			f.Fatal(err)
		}
		if err := d.Retry(f.Context(), 0); !errors.Is(err, bus.ErrSettled) {
			f.Errorf("second settling = %v, want ErrSettled", err)
		}
		f.depth(0)
	})
}

func TestFetchEndsAfterItsWait(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		begin := time.Now()
		if got := f.fetch(f.bus, "m", 4, 20*time.Second); len(got) != 0 {
			f.Errorf("fetched %d jobs from an empty queue", len(got))
		}
		if took := time.Since(begin); took < 18*time.Second || took > 21*time.Second {
			f.Errorf("Fetch took %v, want about 20s", took)
		}
	})
}

func TestFetchYieldsAJobAsItComes(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		begin := time.Now()
		for d, err := range f.bus.Prefill().Fetch(f.Context(), "m", 8, time.Minute) {
			if err != nil {
				f.Fatal(err)
			}
			if took := time.Since(begin); took > time.Second {
				f.Errorf("job came after %v", took)
			}
			if err := d.Done(f.Context()); err != nil {
				f.Error(err)
			}
			break
		}
	})
}

func TestRetryDeliversAgainAfterTheDelay(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		begin := time.Now()
		if err := f.one("m").Retry(f.Context(), 10*time.Second); err != nil {
			f.Fatal(err)
		}
		d := f.one("m")
		if took := time.Since(begin).Round(time.Second); d.Deliveries != 2 || took != 10*time.Second {
			f.Errorf("delivery %d after %v, want 2 after 10s", d.Deliveries, took)
		}
	})
}

func TestJobOfADeadProcessGoesToAnotherAfterAckWait(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		dying, err := bus.Connect(f.Context(), bus.DefaultConfig(), "dying", f.server, prometheus.NewRegistry(), quiet)
		if err != nil {
			f.Fatal(err)
		}
		if got := f.fetch(dying, "m", 1, time.Minute); len(got) != 1 {
			f.Fatalf("fetched %d jobs", len(got))
		}
		begin := time.Now()
		dying.Close()
		d := f.one("m")
		if took, want := time.Since(begin).Round(time.Second), bus.DefaultConfig().Prefill.AckWait; d.Deliveries != 2 || took != want {
			f.Errorf("delivery %d after %v, want 2 after %v", d.Deliveries, took, want)
		}
	})
}

func TestOpenDeliveryIsKeptAlive(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		d := f.one("m")
		if got := f.fetch(f.bus, "m", 1, 10*time.Minute); len(got) != 0 {
			f.Errorf("a job in hand was delivered again")
		}
		if err := d.Done(f.Context()); err != nil {
			f.Error(err)
		}
	})
}

func TestJobIsDroppedAfterItsLastDelivery(t *testing.T) {
	inBubble(t, func(c *bus.Config) { c.Prefill.MaxDeliver = 2 }, func(f *fixture) {
		f.publish(job("m", 1))
		for i, last := range []bool{false, true} {
			d := f.one("m")
			if d.Last != last {
				f.Errorf("delivery %d: Last = %v", i+1, d.Last)
			}
			if err := d.Retry(f.Context(), 0); err != nil {
				f.Fatal(err)
			}
		}
		if got := f.fetch(f.bus, "m", 1, time.Minute); len(got) != 0 {
			f.Errorf("delivered more than max_deliver times")
		}
		synctest.Wait()
		f.depth(0)
	})
}

func TestSameTryPublishedTwiceIsOneJob(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		first, second := f.publish(job("m", 1)), f.publish(job("m", 1))
		if first.Duplicate || !second.Duplicate || first.Seq != second.Seq {
			f.Errorf("receipts %+v, %+v; want the second to be a duplicate of the first", first, second)
		}
		f.depth(1)
	})
}

func TestFullQueueRefuses(t *testing.T) {
	for name, change := range map[string]func(*bus.Config){
		"messages": func(c *bus.Config) { c.Prefill.MaxMsgs = 2 },
		"bytes":    func(c *bus.Config) { c.Prefill.MaxBytes = 25_000 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, change, func(f *fixture) {
				jobs := []*wire.PrefillJob{job("m", 1), job("m", 2), job("m", 3)}
				for _, j := range jobs {
					j.Body = make([]byte, 10_000)
				}
				f.publish(jobs[0])
				f.publish(jobs[1])
				if _, err := f.bus.Prefill().Publish(f.Context(), jobs[2]); !errors.Is(err, bus.ErrFull) {
					f.Errorf("Publish = %v, want ErrFull", err)
				}
				f.depth(2)
			})
		})
	}
}

func TestTooLargeJobIsRefusedByName(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		j := job("m", 1)
		j.Body = make([]byte, f.bus.MaxPayload())
		if _, err := f.bus.Prefill().Publish(f.Context(), j); !errors.Is(err, bus.ErrTooLarge) {
			f.Errorf("Publish = %v, want ErrTooLarge", err)
		}
	})
}

func TestRemoveTellsWhetherTheJobWasThere(t *testing.T) {
	for _, storage := range []bus.Storage{bus.Memory, bus.File} { // whose errors differ
		t.Run(string(storage), func(t *testing.T) {
			inBubble(t, func(c *bus.Config) { c.Storage = storage }, func(f *fixture) {
				r := f.publish(job("m", 1))
				f.publish(job("m", 2)) // stays
				for _, want := range []bool{true, false} {
					if was, err := f.bus.Prefill().Remove(f.Context(), r.Seq); err != nil || was != want {
						f.Errorf("Remove = %v, %v; want %v", was, err, want)
					}
				}
				if was, err := f.bus.Prefill().Remove(f.Context(), 999); err != nil || was {
					f.Errorf("Remove of what never was = %v, %v", was, err)
				}
			})
		})
	}
}

func TestLostTellsWhichJobsAreGone(t *testing.T) {
	for _, storage := range []bus.Storage{bus.Memory, bus.File} { // whose errors differ
		t.Run(string(storage), func(t *testing.T) {
			inBubble(t, func(c *bus.Config) { c.Storage = storage }, func(f *fixture) {
				ids := map[string]uint64{}
				for i := range uint64(5) {
					j := job("m", i+1)
					ids[j.MsgID()] = f.publish(j).Seq
				}
				for i, d := range f.fetch(f.bus, "m", 3, time.Minute) {
					if i == 1 {
						continue // in hand, which is no loss
					}
					if err := d.Done(f.Context()); err != nil {
						f.Error(err)
					}
				}
				ids["f1.9.1"] = ids["f1.4.1"] // the number is another job's now
				ids["f1.10.1"] = 999
				got, err := f.bus.Prefill().Lost(f.Context(), ids)
				slices.Sort(got)
				if want := []string{"f1.1.1", "f1.10.1", "f1.3.1", "f1.9.1"}; err != nil || !slices.Equal(got, want) {
					f.Errorf("Lost = %v, %v; want %v", got, err, want)
				}
				js, done := f.js()
				defer done()
				if err := js.DeleteStream(f.Context(), wire.PrefillStream); err != nil {
					f.Fatal(err)
				}
				if got, err := f.bus.Prefill().Lost(f.Context(), ids); err != nil || len(got) != len(ids) {
					f.Errorf("Lost without a stream = %v, %v; want all", got, err)
				}
			})
		})
	}
}

func handle(stream uint64, lease time.Duration) *wire.DecodeJob {
	j := &wire.DecodeJob{Request: job("m", stream).Request, Worker: "d1", Body: job("m", stream).Body}
	now := time.Now()
	j.Handle = &kvtransfer.Handle{Connector: "nixl", Params: []byte("{}"), Serial: stream, Worker: "p1", Issued: now, Expires: now.Add(lease)}
	return j
}

// Whoever was to take the handle may be gone, and who issued it too. The server's clock for this is the machine's,
// in a bubble too, so the test takes as long as the lease.
func TestDecodeJobLeavesTheQueueWithTheLeaseOfItsHandle(t *testing.T) {
	for _, storage := range []bus.Storage{bus.Memory, bus.File} {
		t.Run(string(storage), func(t *testing.T) {
			onServer(t, func(c *bus.Config) { c.Storage = storage }, func(f *fixture) {
				for i, lease := range []time.Duration{1500 * time.Millisecond, time.Minute, -time.Second} {
					if _, err := f.bus.Decode().Publish(f.Context(), handle(uint64(i+1), lease)); err != nil {
						f.Fatal(err)
					}
				}
				limit, tick := time.After(20*time.Second), time.NewTicker(50*time.Millisecond)
				defer tick.Stop()
				for begun, left := time.Now(), uint64(3); left != 1; {
					d, err := f.bus.Decode().Stats(f.Context())
					if left = d.Messages; err != nil || left < 2 && time.Since(begun) < 1500*time.Millisecond {
						f.Fatalf("after %v the queue holds %d jobs, %v; want those whose leases last", time.Since(begun), left, err)
					}
					select {
					case <-tick.C:
					case <-limit:
						f.Fatalf("the queue holds %d jobs, want the one whose lease lasts", left)
					}
				}
			})
		})
	}
}

// A worker may be newer than the frontend that made the stream.
func TestDecodeJobIsTakenByAStreamWithoutTimesToLive(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		js, done := f.js()
		defer done()
		s, err := js.Stream(f.Context(), wire.DecodeStream)
		if err != nil {
			f.Fatal(err)
		}
		older := s.CachedInfo().Config
		if err := js.DeleteStream(f.Context(), wire.DecodeStream); err != nil {
			f.Fatal(err)
		}
		older.AllowMsgTTL = false
		if _, err := js.CreateStream(f.Context(), older); err != nil {
			f.Fatal(err)
		}
		if _, err := f.bus.Decode().Publish(f.Context(), handle(1, time.Minute)); err != nil {
			f.Error(err)
		}
		if d, err := f.bus.Decode().Stats(f.Context()); err != nil || d.Messages != 1 {
			f.Errorf("the queue holds %d jobs, %v; want 1", d.Messages, err)
		}
	})
}

func TestModelsAndQueuesAreIsolated(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("a", 1))
		d := &wire.DecodeJob{Request: job("b", 1).Request, Whole: true, Body: []byte("{}")}
		if _, err := f.bus.Decode().Publish(f.Context(), d); err != nil {
			f.Fatal(err)
		}
		if got := f.fetch(f.bus, "b", 1, time.Second); len(got) != 0 {
			f.Error("job of another model or queue was delivered")
		}
		for got, err := range f.bus.Decode().Fetch(f.Context(), "b", 1, time.Minute) {
			if err != nil {
				f.Fatal(err)
			}
			if diff := cmp.Diff(*d, got.Job); diff != "" {
				f.Error(diff)
			}
		}
		f.one("a")
	})
}

func TestMessageThatIsNoJobIsDroppedAndCounted(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		js, done := f.js()
		defer done()
		if _, err := js.Publish(f.Context(), wire.PrefillSubject("m", wire.Batch), []byte("rubbish")); err != nil {
			f.Fatal(err)
		}
		if got := f.fetch(f.bus, "m", 1, time.Second); len(got) != 0 {
			f.Error("rubbish was delivered")
		}
		synctest.Wait()
		f.depth(0)
		want := "# HELP baton_queue_undecodable_total Messages dropped because they are no job.\n# TYPE baton_queue_undecodable_total counter\nbaton_queue_undecodable_total{queue=\"decode\"} 0\nbaton_queue_undecodable_total{queue=\"prefill\"} 1\n"
		if err := testutil.GatherAndCompare(f.reg, strings.NewReader(want), "baton_queue_undecodable_total"); err != nil {
			f.Error(err)
		}
	})
}

func TestFetchSurvivesWhatIsLostAtTheServer(t *testing.T) {
	for name, lose := range map[string]func(context.Context, jetstream.JetStream) error{
		"consumer": func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteConsumer(ctx, wire.PrefillStream, wire.Token("m"))
		},
		"stream": func(ctx context.Context, js jetstream.JetStream) error {
			return js.DeleteStream(ctx, wire.PrefillStream)
		},
	} {
		for when, during := range map[string]bool{"between fetches": false, "during a fetch": true} {
			t.Run(name+" "+when, func(t *testing.T) {
				inBubble(t, nil, func(f *fixture) {
					f.fetch(f.bus, "m", 1, time.Second)
					js, done := f.js()
					defer done()
					loss := func() {
						if err := lose(f.Context(), js); err != nil {
							f.Error(err)
						}
						time.Sleep(5 * time.Second)
						if _, err := f.bus.Prefill().Publish(f.Context(), job("m", 1)); err != nil {
							f.Error(err)
						}
					}
					finished := make(chan struct{})
					go func() {
						defer close(finished)
						if during {
							time.Sleep(time.Second)
						}
						loss()
					}()
					if !during {
						<-finished
					}
					f.one("m")
					<-finished
				})
			})
		}
	}
}

func TestDepthIsScraped(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		f.publish(job("m", 1))
		time.Sleep(9 * time.Second)
		d, err := f.bus.Prefill().Stats(f.Context())
		if err != nil || d.Oldest.Round(time.Second) != 9*time.Second {
			f.Errorf("Stats = %+v, %v; want an age of 9s", d, err)
		}
		want := "# HELP baton_queue_messages Jobs in the queue, delivered and unfinished ones included.\n# TYPE baton_queue_messages gauge\nbaton_queue_messages{queue=\"decode\"} 0\nbaton_queue_messages{queue=\"prefill\"} 1\n"
		if err := testutil.GatherAndCompare(f.reg, strings.NewReader(want), "baton_queue_messages"); err != nil {
			f.Error(err)
		}
	})
}

func TestLimitsOfAnExistingStreamAreUpdated(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		cfg := bus.DefaultConfig()
		cfg.Prefill.MaxMsgs = 1
		second, err := bus.Connect(f.Context(), cfg, "second", f.server, prometheus.NewRegistry(), quiet)
		if err != nil {
			f.Fatal(err)
		}
		defer second.Close()
		f.publish(job("m", 1))
		if _, err := f.bus.Prefill().Publish(f.Context(), job("m", 2)); !errors.Is(err, bus.ErrFull) {
			f.Errorf("Publish = %v, want ErrFull by the new limit", err)
		}
	})
}

// A process that starts beside others changes nothing of what they use.
func TestStreamsThatAreAsTheyShouldBeAreLetAlone(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		js, done := f.js()
		defer done()
		changes, err := js.Conn().SubscribeSync("$JS.EVENT.ADVISORY.STREAM.UPDATED.>")
		if err != nil {
			f.Fatal(err)
		}
		connect := func(cfg bus.Config, name string) {
			b, err := bus.Connect(f.Context(), cfg, name, f.server, prometheus.NewRegistry(), quiet)
			if err != nil {
				f.Fatal(err)
			}
			b.Close()
			if err := js.Conn().FlushTimeout(time.Second); err != nil {
				f.Fatal(err)
			}
		}
		count := func() int {
			synctest.Wait()
			n, _, err := changes.Pending()
			if err != nil {
				f.Fatal(err)
			}
			return n
		}
		connect(bus.DefaultConfig(), "second")
		if n := count(); n != 0 {
			f.Errorf("a second process changed %d streams, want none", n)
		}
		other := bus.DefaultConfig()
		other.Prefill.MaxMsgs, other.BodyTTL = 1, 2*other.BodyTTL
		connect(other, "third")
		if n := count(); n != 2 {
			f.Errorf("a third process with other settings changed %d streams, want 2: the prefill queue and the bodies", n)
		}
	})
}
