package wire

import (
	"encoding/binary"
	"fmt"
)

// ControlKind says what a control message asks for.
type ControlKind uint8

// Control kinds.
const (
	Ack            ControlKind = iota + 1 // frontend: Received frames have come in order, Consumed of them reached the client
	Resend                                // frontend: send again from frame Received on
	Cancel                                // frontend: nobody wants this run any more
	HandleConsumed                        // decode worker: the engine read the blocks of handle Run
	HandleReleased                        // decode worker: the blocks of handle Run were freed unread
	Ask                                   // frontend: nothing was heard of this run for some time; a worker that does not have it answers Unknown
)

// Control is one message to the worker that owns Run (or issued the handle numbered Run).
type Control struct {
	Kind     ControlKind
	Run      uint64
	Received uint32 // frames; Ack and Resend only
	Consumed uint32 // frames; Ack only
}

// AppendControlHeader starts a batch of control messages that the process named sender sends.
func AppendControlHeader(dst []byte, sender string) []byte { return AppendFrameHeader(dst, sender) }

// AppendControl adds one control message to a batch.
func AppendControl(dst []byte, c Control) []byte {
	dst = append(dst, byte(c.Kind))
	dst = binary.AppendUvarint(dst, c.Run)
	dst = binary.AppendUvarint(dst, uint64(c.Received))
	return binary.AppendUvarint(dst, uint64(c.Consumed))
}

// ReadControls calls yield for each message of a batch in order, with the name of its sender.
// Messages before a fault are still yielded.
func ReadControls(batch []byte, yield func(sender string, c Control)) error {
	r, sender, err := openBatch(batch)
	if err != nil {
		return fmt.Errorf("read control: %w", err)
	}
	for len(r.rest) > 0 {
		c := Control{Kind: ControlKind(r.byte()), Run: r.uvarint(), Received: r.uint32(), Consumed: r.uint32()}
		if r.err == nil && (c.Kind < Ack || c.Kind > Ask) {
			r.err = fmt.Errorf("control kind %d is unknown", c.Kind)
		}
		if r.err != nil {
			return fmt.Errorf("read control of %s: %w", sender, r.err)
		}
		yield(sender, c)
	}
	return nil
}
