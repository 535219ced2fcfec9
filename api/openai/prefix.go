package openai

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/wire"
)

// maxPrefixBlocks bounds what a job says of its prompt's beginning: 128 KiB of text.
const maxPrefixBlocks = 128

// prefix hashes the text that the prompt is made of in whole blocks of wire.PrefixBlock bytes, each
// with all that comes before it. Two prompts have as many hashes in common as they have blocks in
// common from their beginning on, and with high probability no more. The bytes are the body's own: what
// a client writes in another way counts as another prompt, which costs a cache hit and nothing else.
func prefix(parts ...rawjson.Value) (chain []uint64) {
	var block [wire.PrefixBlock]byte
	var before [8]byte // the hash of the block before
	d := xxhash.New()
	have := 0
	for _, text := range parts {
		for len(text) > 0 && len(chain) < maxPrefixBlocks {
			n := copy(block[have:], text)
			text = text[n:]
			if have += n; have < len(block) {
				break
			}
			d.Reset()
			_, _ = d.Write(before[:]) // never fails
			_, _ = d.Write(block[:])
			chain = append(chain, d.Sum64())
			binary.LittleEndian.PutUint64(before[:], d.Sum64())
			have = 0
		}
	}
	return chain
}
