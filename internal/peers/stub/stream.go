package stub

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// stream is an answer that is written token by token, each in one HTTP chunk and one write, as uvicorn does.
type stream struct {
	conn   net.Conn
	done   chan struct{} // closed by the stepper; nil: it has none
	err    error
	left   int
	sent   int
	prompt int

	head, tail  string // of an event, around what the token changes
	running     bool   // each event has the counts
	usage       bool   // a last event has them
	role, final string // events

	event, chunk []byte // of the step under way
}

func newStream(conn net.Conn, id string, chat bool, prompt, tokens int, r *request, model string) *stream {
	s := &stream{conn: conn, left: tokens, prompt: prompt, usage: r.has("include_usage", "true"), running: r.has("continuous_usage_stats", "true")}
	object, prefix := "text_completion", "cmpl-"
	if chat {
		object, prefix = "chat.completion.chunk", "chatcmpl-"
	}
	s.head = fmt.Sprintf(`data: {"id":%q,"object":%q,"created":1700000000,"model":%q,"choices":[`, prefix+id, object, model)
	s.tail, s.final = `{"index":0,"text":`+Token+`,"logprobs":null,"finish_reason":null,"stop_reason":null}]`, `{"index":0,"text":"","logprobs":null,"finish_reason":"length","stop_reason":null}]`
	if chat {
		s.role = `{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`
		s.tail, s.final = `{"index":0,"delta":{"content":`+Token+`},"logprobs":null,"finish_reason":null}]`, `{"index":0,"delta":{},"logprobs":null,"finish_reason":"length","stop_reason":null}]`
	}
	return s
}

// begin writes the head of the answer. The first event of a chat goes out with the first token.
func (s *stream) begin() error {
	return write(s.conn, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"))
}

// step writes the next token, and the end after the last; false: there is nothing more to write.
func (s *stream) step() bool {
	s.chunk = s.chunk[:0]
	if s.sent == 0 && s.role != "" {
		s.add(s.role)
	}
	if s.left > 0 {
		s.left--
		s.sent++
		s.add(s.tail)
	}
	if s.left == 0 {
		s.add(s.final)
		if s.usage {
			s.event = s.counts(append(s.event[:0], s.head...), "]")
			s.frame("}\n\n")
		}
		s.event = append(s.event[:0], "data: [DONE]\n\n"...)
		s.frame("")
		s.chunk = append(s.chunk, "0\r\n\r\n"...)
	}
	// One deadline for many steps: setting one is not free.
	if s.sent&63 <= 1 {
		s.err = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	if s.err == nil {
		_, s.err = s.conn.Write(s.chunk)
	}
	return s.left > 0 && s.err == nil
}

// add appends one event to what is written in this step.
func (s *stream) add(choice string) {
	s.event = append(s.event[:0], s.head...)
	if s.running {
		s.event = s.counts(s.event, choice)
	} else {
		s.event = append(s.event, choice...)
	}
	s.frame("}\n\n")
}

func (s *stream) counts(event []byte, choice string) []byte {
	event = append(event, choice...)
	event = append(event, `,"usage":{"prompt_tokens":`...)
	event = strconv.AppendInt(event, int64(s.prompt), 10)
	event = append(event, `,"total_tokens":`...)
	event = strconv.AppendInt(event, int64(s.prompt+s.sent), 10)
	event = append(event, `,"completion_tokens":`...)
	event = strconv.AppendInt(event, int64(s.sent), 10)
	return append(event, '}')
}

// frame appends the event and its end as one HTTP chunk.
func (s *stream) frame(end string) {
	s.chunk = strconv.AppendInt(s.chunk, int64(len(s.event)+len(end)), 16)
	s.chunk = append(s.chunk, "\r\n"...)
	s.chunk = append(s.chunk, s.event...)
	s.chunk = append(s.chunk, end...)
	s.chunk = append(s.chunk, "\r\n"...)
}
