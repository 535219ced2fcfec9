package bus

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// origin is what the subject of a job's acknowledgement tells of its delivery.
type origin struct {
	deliveries uint64 // from 1
	seq        uint64 // in the stream
	published  time.Time
}

var errNoOrigin = errors.New("message has no subject of a delivery's acknowledgement")

// originOf reads $JS.ACK.STREAM.CONSUMER.DELIVERIES.SEQ.SEQ.PUBLISHED.PENDING, where newer servers have a domain and an
// account before the stream, and what else they like at the end.
func originOf(ack string) (o origin, err error) {
	rest, is := strings.CutPrefix(ack, "$JS.ACK.")
	skip := 2
	switch tokens := strings.Count(rest, ".") + 1; {
	case !is || tokens < 7 || tokens == 8:
		return o, errNoOrigin
	case tokens > 8:
		skip = 4
	}
	var numbers [4]uint64
	for range skip {
		_, rest, _ = strings.Cut(rest, ".")
	}
	for i := range numbers {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		if numbers[i], err = strconv.ParseUint(token, 10, 64); err != nil {
			return o, errNoOrigin
		}
	}
	return origin{deliveries: numbers[0], seq: numbers[1], published: time.Unix(0, int64(numbers[3]))}, nil
}
