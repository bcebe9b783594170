package actors

// fifo is a queue. How much room it keeps while it is empty is an argument of pop.
type fifo struct {
	items []any
	head  int // index in items of the first that has not been taken
}

func (q *fifo) push(v any) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *fifo) empty() bool { return q.head == len(q.items) }

// pop takes out the first element; nil: the queue is empty. If it was the last, the queue keeps
// room for at most keep.
func (q *fifo) pop(keep int) any {
	if q.empty() {
		return nil
	}
	v := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > keep {
			q.items = nil
		}
	}
	return v
}
