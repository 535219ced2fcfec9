package spectest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/baton-llm/baton/api/spec"
	"github.com/baton-llm/baton/api/spec/spectest"
)

func TestCheckSeesWhatIsNotDescribed(t *testing.T) {
	text, err := spec.JSON("v1")
	if err != nil {
		t.Fatal(err)
	}
	d, err := spectest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	const (
		chat, messages = "/v1/chat/completions", "/v1/messages"

		whole = `{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[]}`
		chunk = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}` + "\n\n"
		done  = "data: [DONE]\n\n"
	)
	for _, c := range []struct {
		name, path  string
		status      int
		media, id   string
		body, fault string // fault: a part of it; "" none
	}{
		{"a whole answer", chat, 200, "application/json", "r", whole, ""},
		{"a stream", chat, 200, "text/event-stream; charset=utf-8", "r", chunk + `data: {"error":{"message":"gone"}}` + "\n\n" + done, ""},
		{"an error", chat, 400, "application/json", "r", `{"error":{"message":"m","type":"T","param":null,"code":400}}`, ""},
		{"another path", "/v1/none", 200, "application/json", "r", whole, "not described"},
		{"another status", chat, 418, "application/json", "r", whole, "status"},
		{"another type", chat, 200, "text/html", "r", whole, "text/html"},
		{"no id", chat, 200, "application/json", "", whole, "X-Request-Id"},
		{"a strange id", chat, 200, "application/json", "a b", whole, "X-Request-Id"},
		{"a member of another kind", chat, 200, "application/json", "r", strings.Replace(whole, "[]", "{}", 1), "choices"},
		{"a member is missing", chat, 200, "application/json", "r", strings.Replace(whole, `"model":"m",`, "", 1), "model"},
		{"an error without envelope", chat, 400, "application/json", "r", `{"detail":"m"}`, "error"},
		{"an event that is no chunk", chat, 200, "text/event-stream", "r", `data: {"id":"1"}` + "\n\n" + done, `event "data: {`},
		{"an event with a comment", chat, 200, "text/event-stream", "r", ": x\n" + chunk + done, "more than"},
		{"an event of two lines", chat, 200, "text/event-stream", "r", "data: {\ndata: }\n\n" + done, "more than"},
		{"an event with a name", chat, 200, "text/event-stream", "r", "event: x\n" + chunk + done, "event"},
		{"named events", messages, 200, "text/event-stream", "r", "event: ping\ndata: {\"type\":\"ping\"}\n\n", ""},
		{"a named event without name", messages, 200, "text/event-stream", "r", "data: {}\n\n", "event"},
		{"a named event that is not JSON", messages, 200, "text/event-stream", "r", "event: ping\ndata: [DONE]\n\n", "invalid"},
		{"half an event", chat, 200, "text/event-stream", "r", chunk + "data: [DO", "breaks off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := &http.Response{StatusCode: c.status, Header: http.Header{"Content-Type": {c.media}}, Request: &http.Request{}}
			resp.Header.Set("Openai-Processing-Ms", "1")
			if c.id != "" {
				resp.Header.Set("X-Request-Id", c.id)
			}
			err := d.Check("POST", c.path, resp, c.body)
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("Check = %v, want %q", err, c.fault)
			}
		})
	}
}
