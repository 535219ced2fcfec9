package schedule

// prefixes is what one engine's prefix cache holds, as far as our own dispatches tell: blocks of
// prompt text by hash. Blocks that jobs at the worker hold stay; the others go when the cache is
// full, least recently used first.
type prefixes struct {
	capacity int // tokens; see unknownCapacity
	blocks   map[uint64]*block
	free     block // head of the ring of blocks that nobody holds, the next to go first
	tokens   int   // of all blocks
	shared   int   // tokens that holders would need in addition if each had its own copy
	trust    float64
}

// block is one block of text in an engine's cache.
type block struct {
	hash       uint64
	tokens     int
	holders    int
	prev, next *block // while nobody holds it
}

const (
	// unknownCapacity bounds the index of an engine that does not say how much it holds, tokens.
	unknownCapacity = 1 << 20
	// trustStep is the weight of one report of what was found cached.
	trustStep = 0.1
)

func newPrefixes() *prefixes {
	p := &prefixes{blocks: map[uint64]*block{}, trust: 1}
	p.free.next, p.free.prev = &p.free, &p.free
	p.resize(0)
	return p
}

// resize takes the engine's capacity in tokens; 0: unknown.
func (p *prefixes) resize(capacity int) {
	if capacity == 0 {
		capacity = unknownCapacity
	}
	p.capacity = capacity
	p.evict()
}

// match is how many tokens of the prompt's beginning are cached, and how many of them somebody holds.
func (p *prefixes) match(hashes []uint64) (cached, held int) {
	for _, h := range hashes {
		b := p.blocks[h]
		if b == nil {
			break
		}
		cached += b.tokens
		if b.holders > 0 {
			held += b.tokens
		}
	}
	return cached, held
}

// hold enters a prompt that is being computed: its blocks are in the cache from now on. tokens is
// the length of one block.
func (p *prefixes) hold(hashes []uint64, tokens int) {
	for _, h := range hashes {
		b := p.blocks[h]
		switch {
		case b == nil:
			b = &block{hash: h, tokens: tokens}
			p.blocks[h] = b
			p.tokens += tokens
		case b.holders == 0:
			b.unlink()
		default:
			p.shared += b.tokens
		}
		b.holders++
	}
	p.evict()
}

// release gives a hold up. The end of a prompt is freed first, so that it goes before its beginning.
func (p *prefixes) release(hashes []uint64) {
	for i := len(hashes) - 1; i >= 0; i-- {
		b := p.blocks[hashes[i]]
		if b.holders--; b.holders > 0 {
			p.shared -= b.tokens
			continue
		}
		b.prev, b.next = p.free.prev, &p.free
		b.prev.next, b.next.prev = b, b
	}
	p.evict()
}

func (b *block) unlink() {
	b.prev.next, b.next.prev = b.next, b.prev
	b.prev, b.next = nil, nil
}

func (p *prefixes) evict() {
	for p.tokens > p.capacity && p.free.next != &p.free {
		b := p.free.next
		b.unlink()
		delete(p.blocks, b.hash)
		p.tokens -= b.tokens
	}
}

// found corrects the trust in predictions by what an engine has found.
func (p *prefixes) found(predicted, actual int) {
	if predicted > 0 {
		p.trust += trustStep * (min(1, float64(actual)/float64(predicted)) - p.trust)
	}
}

// sharing is how many tokens of KV cache jobs save by having prefixes in common.
func (p *prefixes) sharing() int { return int(p.trust * float64(p.shared)) }
