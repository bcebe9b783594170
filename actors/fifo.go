package actors

// fifo is a queue. The room it keeps while it is empty is small.
type fifo struct {
	items []any
	head  int // of items, the first that has not been taken
}

const fifoKeeps = 128

func (q *fifo) push(v any) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *fifo) empty() bool { return q.head == len(q.items) }

func (q *fifo) pop() any {
	if q.empty() {
		return nil
	}
	v := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > fifoKeeps {
			q.items = nil
		}
	}
	return v
}
