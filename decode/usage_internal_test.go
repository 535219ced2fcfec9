package decode

import "testing"

func TestAskUsageChangesOneMember(t *testing.T) {
	for body, want := range map[string]string{ // "": left alone
		`{"a":1}`:                                    `{"a":1,"stream_options":{"include_usage":true}}`,
		`{"stream_options": null ,"a":1}`:            `{"stream_options": {"include_usage":true} ,"a":1}`,
		`{"stream_options":{}}`:                      `{"stream_options":{"include_usage":true}}`,
		`{"stream_options":{"include_usage":false}}`: `{"stream_options":{"include_usage":true}}`,
		`{"stream_options":{ "x" : 9007199254740993, "include_usage":null, "continuous_usage_stats": false } , "a":1}`: `{"stream_options":{ "x" : 9007199254740993, "include_usage":true, "continuous_usage_stats": false } , "a":1}`,
		`{"stream_options":{"include_usage":true}}`:          "",
		`{"stream_options":{"include_usage":1}}`:             "",
		`{"stream_options":{"continuous_usage_stats":true}}`: "",
		`{"stream_options":[]}`:                              "",
	} {
		got, ok, err := askUsage([]byte(body))
		if want == "" {
			want = body
		}
		if err != nil || string(got) != want || ok != (want != body) {
			t.Errorf("askUsage(%s) = %s, %v, %v; want %s", body, got, ok, err, want)
		}
	}
	if _, _, err := askUsage([]byte("{")); err == nil {
		t.Error("half a body is no error")
	}
}
