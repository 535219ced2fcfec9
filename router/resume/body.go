package resume

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/baton-llm/baton/internal/rawjson"
)

var errNoRoom = errors.New("the answer already has max_tokens")

// Body makes the body that asks for the rest of the answer from the client's, and says how many tokens
// that may have; 0: the body names no bound. The client's body stays as it is.
func (t *Transcript) Body(body []byte) (edited []byte, maxTokens int, err error) {
	object, err := rawjson.Reparse(body)
	if err != nil {
		return nil, 0, fmt.Errorf("continue a request: %w", err)
	}
	name, most := t.bound(object)
	if t.sent == 0 {
		return body, most, nil
	}
	var edits []rawjson.Edit
	if t.terms.Chat {
		messages, _ := object.Get("messages")
		edits = []rawjson.Edit{
			rawjson.Set("messages", appended(messages, t.text)),
			rawjson.Set("continue_final_message", []byte("true")),
			rawjson.Set("add_generation_prompt", []byte("false")),
		}
	} else {
		prompt, _ := object.Get("prompt")
		text, ok := promptText(prompt)
		if !ok {
			return nil, 0, errors.New("continue a request: its prompt is no text")
		}
		edits = []rawjson.Edit{rawjson.Set("prompt", joined(text, t.text))}
	}
	if name != "" {
		if maxTokens = most - t.sent; maxTokens < 1 {
			return nil, 0, fmt.Errorf("continue a request: %w", errNoRoom)
		}
		edits = append(edits, rawjson.Set(name, strconv.AppendInt(nil, int64(maxTokens), 10)))
	}
	if least := count(object, "min_tokens"); least > 0 {
		edits = append(edits, rawjson.Set("min_tokens", strconv.AppendInt(nil, int64(max(0, least-t.sent)), 10)))
	}
	return object.Edit(edits...), maxTokens, nil
}

// bound returns the member that bounds the answer, and its value. A chat's max_completion_tokens wins.
func (t *Transcript) bound(body *rawjson.Object) (name string, most int) {
	if t.terms.Chat {
		for _, name := range []string{"max_completion_tokens", "max_tokens"} {
			if most := count(body, name); most > 0 {
				return name, most
			}
		}
		return "", 0
	}
	if most = count(body, "max_tokens"); most == 0 {
		most = defaultMaxTokens
	}
	return "max_tokens", most
}

// joined is a JSON string with more behind it, which is the inside of one.
func joined(literal rawjson.Value, more []byte) []byte {
	out := make([]byte, 0, len(literal)+len(more))
	out = append(out, literal[:len(literal)-1]...)
	return append(append(out, more...), '"')
}

// appended is an array of messages with the assistant's behind them.
func appended(messages rawjson.Value, text []byte) []byte {
	inside := bytes.TrimRight(messages[:len(messages)-1], " \t\r\n")
	out := make([]byte, 0, len(messages)+len(text)+64)
	out = append(out, inside...)
	if len(bytes.TrimSpace(inside[1:])) > 0 {
		out = append(out, ',')
	}
	out = append(append(out, `{"role":"assistant","content":"`...), text...)
	return append(out, `"}]`...)
}

// count is a member that is a whole number above 0, else 0.
func count(o *rawjson.Object, name string) int {
	v, _ := o.Get(name)
	n, err := v.Int64()
	if err != nil || n < 0 || n > maxCount {
		return 0
	}
	return int(n)
}
