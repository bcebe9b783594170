package mqtt

import "testing"

// A client cancels the calls answered on a topic, or only those with its correlation data; other
// calls are not affected.
func TestCallsAreCanceledByTheirAnswer(t *testing.T) {
	var all Calls
	canceled := map[string]int{}
	for _, c := range []struct{ name, reply, data string }{{"a", "reply/me/1", "x"}, {"b", "reply/me/1", "y"}, {"c", "reply/me/2", "x"}} {
		call := &Call{Client: ClientInfo{ID: "me"}, Cancel: func() { canceled[c.name]++ }}
		call.To.ResponseTopic, call.To.CorrelationData = c.reply, []byte(c.data)
		if !all.Add(call, 3) {
			t.Fatal("no place")
		}
	}
	if all.Add(&Call{}, 3) || all.Refused() != 1 || all.Open() != 3 {
		t.Errorf("%d are open, %d were refused", all.Open(), all.Refused())
	}
	all.Cancel("reply/me/1", []byte("y"))
	if len(canceled) != 1 || canceled["b"] != 1 {
		t.Errorf("canceled %v", canceled)
	}
	all.Cancel("reply/me/1", nil)
	if len(canceled) != 2 || canceled["a"] != 1 || canceled["b"] != 2 {
		t.Errorf("canceled %v", canceled)
	}
	if drained := all.Drain(); len(drained) != 3 || all.Open() != 0 || all.Remove(drained[0]) {
		t.Errorf("%d drained", len(drained))
	}
}
