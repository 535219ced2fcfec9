package schedule

// heap is a binary heap whose elements know their places in it, so that any of them can leave or be
// sorted anew. An element may be in several heaps, with one place for each.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	place func(T) *int // where the element keeps its index here, plus one; 0: not in this heap
}

func (h *heap[T]) push(x T) {
	h.items = append(h.items, x)
	*h.place(x) = len(h.items)
	h.up(len(h.items) - 1)
}

// remove takes x out; it need not be there.
func (h *heap[T]) remove(x T) {
	i := *h.place(x) - 1
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	*h.place(x) = 0
	if i < last {
		h.settle(i)
	}
}

// fix sorts x anew after its key has changed.
func (h *heap[T]) fix(x T) { h.settle(*h.place(x) - 1) }

// top is the least element; false if there is none.
func (h *heap[T]) top() (x T, ok bool) {
	if len(h.items) == 0 {
		return x, false
	}
	return h.items[0], true
}

// first calls visit for up to n of the least elements in order, and does not change the heap: the
// next one is always a child of one that was visited. It takes n² steps however large the heap is.
func (h *heap[T]) first(n int, visit func(T)) {
	var room [2 * candidates]int
	open := room[:0] // children of the visited, none of which was visited
	if len(h.items) > 0 {
		open = append(open, 0)
	}
	for ; n > 0 && len(open) > 0; n-- {
		least := 0
		for i := range open {
			if h.less(h.items[open[i]], h.items[open[least]]) {
				least = i
			}
		}
		at := open[least]
		open[least] = open[len(open)-1]
		open = open[:len(open)-1]
		for child := 2*at + 1; child <= 2*at+2 && child < len(h.items); child++ {
			open = append(open, child)
		}
		visit(h.items[at])
	}
}

func (h *heap[T]) settle(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) (moved bool) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.items); child++ {
			if h.less(h.items[child], h.items[least]) {
				least = child
			}
		}
		if least == i {
			return moved
		}
		h.swap(i, least)
		i, moved = least, true
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.place(h.items[i]), *h.place(h.items[j]) = i+1, j+1
}
