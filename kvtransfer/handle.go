package kvtransfer

import "time"

// Handle is the baton: a lease on the KV cache of one prompt on one prefill engine. It is single
// use. The engine frees the blocks at the first read or at Expires, and after that the same
// handle may give another request's text with status 200, so who holds one calls Check first and
// never uses one twice.
type Handle struct {
	Connector    string // which protocol Params belong to
	Params       []byte // opaque, byte for byte as the prefill engine wrote them
	Serial       uint64 // the issuing worker's number; its ledger knows it
	Worker       string // prefill worker that issued it
	Engine       string // URL of the engine that holds the blocks, for people
	RequestID    string
	Digest       string // of the client's body that was prefilled
	PromptTokens int    // as the engine counted; 0: it did not say
	CachedTokens int    // of them found in the prefix cache
	Issued       time.Time
	Expires      time.Time // the engine frees the blocks then, without telling anyone
}
