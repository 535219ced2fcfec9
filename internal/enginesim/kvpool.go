package enginesim

// pool is the engine's KV memory in blocks, with a prefix cache: a block that nobody holds keeps
// its content, found by hash, until it is the least recently used of the free ones and is needed.
// It is not safe for concurrent use.
type pool struct {
	blocks []block
	byHash map[uint64]int32
	free   int // blocks that nobody holds
}

// block is one of the pool. The last one of pool.blocks is the head of the ring of free blocks,
// the least recently freed first.
type block struct {
	refs       int32
	hashed     bool
	hash       uint64
	owner      string // digest of the prompt that holds it, or held it last
	prev, next int32
}

func newPool(size int) *pool {
	p := &pool{blocks: make([]block, size+1), byHash: map[uint64]int32{}}
	head := p.head()
	p.blocks[head] = block{prev: head, next: head}
	for id := range head {
		p.pushFree(id)
	}
	return p
}

func (p *pool) head() int32 { return int32(len(p.blocks) - 1) } //nolint:gosec // Far below 2^31 blocks.
func (p *pool) size() int   { return len(p.blocks) - 1 }
func (p *pool) used() int   { return p.size() - p.free }

func (p *pool) pushFree(id int32) {
	head := p.head()
	last := p.blocks[head].prev
	p.blocks[id].prev, p.blocks[id].next = last, head
	p.blocks[last].next, p.blocks[head].prev = id, id
	p.free++
}

func (p *pool) takeFree(id int32) {
	b := &p.blocks[id]
	p.blocks[b.prev].next, p.blocks[b.next].prev = b.next, b.prev
	p.free--
}

// cached returns the blocks that hold the longest prefix of the hash chain.
func (p *pool) cached(hashes []uint64) []int32 {
	var found []int32
	for _, h := range hashes {
		id, ok := p.byHash[h]
		if !ok {
			break
		}
		found = append(found, id)
	}
	return found
}

// reserve holds the cached blocks and as many fresh ones as make n in all, or none and false.
func (p *pool) reserve(cached []int32, n int, owner string) ([]int32, bool) {
	need := n - len(cached)
	for _, id := range cached {
		if p.blocks[id].refs == 0 {
			need++
		}
	}
	if need > p.free {
		return nil, false
	}
	held := make([]int32, 0, n)
	for _, id := range cached {
		if p.blocks[id].refs == 0 {
			p.takeFree(id)
		}
		p.blocks[id].refs++
		held = append(held, id)
	}
	for len(held) < n {
		id, _ := p.alloc(owner)
		held = append(held, id)
	}
	return held, true
}

// alloc takes the least recently used free block, which loses its content.
func (p *pool) alloc(owner string) (int32, bool) {
	if p.free == 0 {
		return 0, false
	}
	id := p.blocks[p.head()].next
	p.takeFree(id)
	b := &p.blocks[id]
	if b.hashed {
		delete(p.byHash, b.hash)
		b.hashed = false
	}
	b.refs, b.owner = 1, owner
	return id, true
}

// release gives up one hold on each block. The end of a prefix is freed first, so that it is
// evicted before its beginning.
func (p *pool) release(ids []int32) {
	for i := len(ids) - 1; i >= 0; i-- {
		b := &p.blocks[ids[i]]
		if b.refs--; b.refs == 0 {
			p.pushFree(ids[i])
		}
	}
}

// fill makes the block's content findable, unless another block already has it.
func (p *pool) fill(id int32, hash uint64) {
	b := &p.blocks[id]
	if _, taken := p.byHash[hash]; taken || b.hashed {
		return
	}
	b.hash, b.hashed = hash, true
	p.byHash[hash] = id
}

// ownedBy says whose prompt is in the block; "" where nobody holds it or there is no such block.
func (p *pool) ownedBy(id int32) string {
	if id < 0 || id >= p.head() || p.blocks[id].refs == 0 {
		return ""
	}
	return p.blocks[id].owner
}

// forget empties the prefix cache.
func (p *pool) forget() {
	clear(p.byHash)
	for i := range p.blocks {
		p.blocks[i].hashed = false
	}
}
