package wire

// Dialect is the form of a path's event stream: what its events look like and which of them is the
// last. It says so for both sides: the worker that reads the engine's stream and the frontend that
// writes the client's.
type Dialect uint8

// The dialects.
const (
	Plain     Dialect = iota // events have no names; data: [DONE] ends them
	Responses                // OpenAI's /v1/responses: events are named by their type
	Messages                 // Anthropic's /v1/messages, too
)

// DialectOf returns the dialect of an HTTP path at the engine.
func DialectOf(path string) Dialect {
	switch path {
	case "/v1/responses":
		return Responses
	case "/v1/messages":
		return Messages
	}
	return Plain
}

// Named tells whether events have names.
func (d Dialect) Named() bool { return d != Plain }

// Last tells whether an event of this type ends the answer. vLLM sends nothing after it but, for
// messages, data: [DONE].
func (d Dialect) Last(eventType string) bool {
	switch d {
	case Responses:
		return eventType == "response.completed" || eventType == "response.incomplete" || eventType == "response.failed"
	case Messages:
		return eventType == "message_stop"
	case Plain:
	}
	return false
}
