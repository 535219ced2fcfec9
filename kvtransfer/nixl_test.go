package kvtransfer_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/baton-llm/baton/kvtransfer"
)

// golden is one file of testdata/nixl: strings, because every byte counts.
type golden struct {
	Call         string `json:"call"`
	Input        string `json:"input"`
	Want         string `json:"want"`
	Params       string `json:"params"`
	PromptTokens int    `json:"prompt_tokens"`
	CachedTokens int    `json:"cached_tokens"`
}

func TestNIXLGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/nixl/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	nixl, err := kvtransfer.ByName("nixl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			if err := json.Unmarshal(raw, &g); err != nil {
				t.Fatal(err)
			}
			var got []byte
			switch g.Call {
			case "prefill":
				got, err = nixl.PreparePrefill([]byte(g.Input))
			case "decode":
				got, err = nixl.PrepareDecode([]byte(g.Input), &kvtransfer.Handle{Connector: "nixl", Params: []byte(g.Params)})
			case "no_handle":
				if _, err = nixl.HandleFrom([]byte(g.Input)); !errors.Is(err, kvtransfer.ErrNoHandle) {
					t.Errorf("HandleFrom = %v, want ErrNoHandle", err)
				}
				return
			case "handle":
				var h kvtransfer.Handle
				h, err = nixl.HandleFrom([]byte(g.Input))
				got = h.Params
				if h.Connector != "nixl" || h.PromptTokens != g.PromptTokens || h.CachedTokens != g.CachedTokens {
					t.Errorf("handle = %s, %d prompt tokens, %d cached; want nixl, %d, %d", h.Connector, h.PromptTokens, h.CachedTokens, g.PromptTokens, g.CachedTokens)
				}
			default:
				t.Fatalf("unknown call %q", g.Call)
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != g.Want {
				t.Errorf("got  %s\nwant %s", got, g.Want)
			}
		})
	}
}

func TestNIXLRefuses(t *testing.T) {
	nixl := kvtransfer.NIXL{}
	if _, err := nixl.PreparePrefill([]byte(`{"a":1,`)); err == nil {
		t.Error("PreparePrefill took a body that ends too early")
	}
	if _, err := nixl.HandleFrom([]byte(`Internal Server Error`)); err == nil || errors.Is(err, kvtransfer.ErrNoHandle) {
		t.Errorf("HandleFrom of no JSON = %v, want an error other than ErrNoHandle", err)
	}
	for name, h := range map[string]*kvtransfer.Handle{
		"other connector": {Connector: "mooncake", Params: []byte("{}")},
		"no params":       {Connector: "nixl"},
	} {
		if _, err := nixl.PrepareDecode([]byte(`{}`), h); err == nil {
			t.Errorf("PrepareDecode took a handle with %s", name)
		}
	}
	if _, err := kvtransfer.ByName("x"); err == nil {
		t.Error("ByName knows x")
	}
}
