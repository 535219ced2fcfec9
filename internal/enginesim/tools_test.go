package enginesim

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhichFunctionsAreCalled(t *testing.T) {
	const (
		tools  = `"tools":[{"type":"function","function":{"name":"get_weather"}},{"type":"function","function":{"name":"get_time"}}]`
		dialog = `{"role":"user","content":"get_time"},{"role":"assistant","content":null,"tool_calls":[]}`
	)
	user := func(text string) string { return `{"role":"user","content":"` + text + `"}` }
	for _, tt := range []struct {
		messages, more string
		calls          string
		finish         string
	}{
		{user("hi"), "", "", "length"},
		{user("What does GET_WEATHER say?"), "", "get_weather", "tool_calls"},
		{user("get_weathers"), "", "", "length"},
		{user("an-get_time"), "", "", "length"},
		{user("get_time, get_weather"), "", "get_weather get_time", "tool_calls"},
		{user("get_time, get_weather"), `,"parallel_tool_calls":false`, "get_weather", "tool_calls"},
		{user("get_time"), `,"tool_choice":"none"`, "", "length"},
		{user("get_time"), `,"tool_choice":null`, "get_time", "tool_calls"},
		{user("hi"), `,"tool_choice":"required"`, "get_weather", "tool_calls"},
		{user("get_time"), `,"tool_choice":"required"`, "get_time", "tool_calls"},
		{user("hi"), `,"tool_choice":{"type":"function","function":{"name":"get_time"}}`, "get_time", "stop"},
		{dialog + `,{"role":"tool","content":"noon"}`, "", "", "length"},
		{dialog + `,{"role":"tool","content":"noon"}`, `,"tool_choice":"required"`, "get_time", "tool_calls"},
		{`{"role":"system","content":"get_time"},` + user("hi"), "", "", "length"},
		{user("get_time"), `,"response_format":{"type":"json_object"}`, "get_time", "tool_calls"},
	} {
		t.Run(tt.messages+tt.more, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				e := r.start("both", nil)
				for _, stream := range []string{"", `,"stream":true`} {
					got := readChat(t, e.must(pathChat, `{"max_tokens":60,"ignore_eos":true,"messages":[`+tt.messages+`],`+tools+tt.more+stream+`}`))
					var names []string
					for _, c := range got.Calls {
						names = append(names, c.Name)
					}
					if calls := strings.Join(names, " "); calls != tt.calls || got.Finish != tt.finish {
						t.Errorf("stream %q calls %q and ends with %s, want %q and %s", stream, calls, got.Finish, tt.calls, tt.finish)
					}
				}
			})
		})
	}
}

// A call that max_tokens cuts is left out, and its stream stops in the middle.
func TestCallThatIsCut(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		whole := readChat(t, e.must(pathChat, weather("", "")))
		arguments := whole.Calls[0].Arguments
		cut := readChat(t, e.must(pathChat, weather("", `,"max_tokens":18`)))
		if diff := cmp.Diff(said{Finish: "length"}, cut); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		streamed := readChat(t, e.must(pathChat, weather("", `,"max_tokens":18,"stream":true`)))
		if len(streamed.Calls) != 1 || streamed.Calls[0].Arguments == "" || streamed.Calls[0].Arguments == arguments ||
			!strings.HasPrefix(arguments, streamed.Calls[0].Arguments) || streamed.Finish != "length" {
			t.Errorf("streamed %+v, want a beginning of %s", streamed, arguments)
		}
		stopped := readChat(t, e.must(pathChat, weather("", `,"stop":"days","stream":true`)))
		if len(stopped.Calls) != 1 || stopped.Calls[0].Arguments != arguments[:strings.Index(arguments, "days")] {
			t.Errorf("stopped %+v, want %s up to the stop string", stopped, arguments)
		}
		e.clean()
	})
}

// Each token costs a step, those of the markup too.
func TestCallsCostTheirTokens(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		got := e.must(pathChat, weather("", `,"logprobs":true`))
		if st := e.Stats(); st.Generated != got.Usage.CompletionTokens || st.Iterations != st.Generated {
			t.Errorf("%d tokens in %d iterations, usage %+v", st.Generated, st.Iterations, got.Usage)
		}
		if n := strings.Count(string(got.raw), `"token":`); n != got.Usage.CompletionTokens {
			t.Errorf("%d logprobs for %d tokens", n, got.Usage.CompletionTokens)
		}
	})
}

func TestToolIDsAreDistinct(t *testing.T) {
	f := form{calls: []function{{name: "a", parameters: mustSchema(t, `{}`)}, {name: "a", parameters: mustSchema(t, `{}`)}}}
	one, two := f.script("one"), f.script(ChoiceDigest("one", 1))
	ids := map[string]bool{}
	for _, s := range []*script{one, two} {
		for _, c := range s.calls {
			ids[c.ID] = true
		}
	}
	if len(ids) != 4 {
		t.Errorf("4 calls have ids %v", ids)
	}
}
