package modbusserver

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/image"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/server"
)

// maxJobs is the maximum number of writes that run or wait, of all masters together.
const maxJobs = 256

// placeholder stands for the value in a configured request.
const placeholder = "$value"

// job is a request that writes. The requests of one master are carried out one after the other,
// those of different masters concurrently unless they write the same point: a request that changes a
// part of a point must know the whole.
type job struct {
	desk      *handler
	master    *server.Master
	later     *server.Deferred
	request   modbus.Request
	broadcast bool

	running  bool
	stock    *stock        // the points in force when the job began
	writes   []image.Write // remaining writes, the current one first
	deadline time.Time
}

func (s *shop) take(c *actors.Context, j *job) {
	if s.open >= maxJobs {
		j.later.Refuse(modbus.DeviceBusy)
		return
	}
	s.open++
	j.deadline = time.Now().Add(s.cfg.WriteTimeout.AsDuration())
	queue := append(s.jobs[j.master], j)
	s.jobs[j.master] = queue
	if len(queue) == 1 {
		s.begin(c, j)
	}
}

// begin determines the writes of a request and starts the first one.
func (s *shop) begin(c *actors.Context, j *job) {
	var code uint8
	j.stock, j.writes = s.stock, nil
	if !j.broadcast && j.later.Gone() {
		s.end(c, j, modbus.DeviceBusy) // the master gave it up and may have written something else since
		return
	}
	if j.broadcast {
		for _, unit := range j.stock.image.Units() {
			r := j.request
			r.Unit = unit
			more, _ := j.stock.image.Writes(r) // a unit that refuses a broadcast does not answer
			j.writes = append(j.writes, more...)
		}
	} else {
		j.writes, code = j.stock.image.Writes(j.request)
	}
	if code == 0 && j.request.Function == modbus.ReadWriteMultipleRegisters {
		_, code = j.stock.image.Read(nil, j.request) // function 23 writes nothing if its read would fail
	}
	if code != 0 {
		s.end(c, j, code)
		return
	}
	if s.clashes(j) {
		return // end begins it again
	}
	j.running = true
	s.step(c, j)
}

// clashes reports whether a running job of another master writes a point that j writes.
func (s *shop) clashes(j *job) bool {
	for _, queue := range s.jobs {
		o := queue[0]
		if o != j && o.running && slices.ContainsFunc(j.writes, func(w image.Write) bool {
			p := j.stock.points[w.Index]
			return slices.ContainsFunc(o.writes, func(v image.Write) bool {
				q := o.stock.points[v.Index]
				return p.From == q.From && p.Point == q.Point
			})
		}) {
			return true
		}
	}
	return false
}

// step makes the next call of a job.
func (s *shop) step(c *actors.Context, j *job) {
	if len(j.writes) == 0 {
		s.end(c, j, 0)
		return
	}
	left := time.Until(j.deadline)
	if left <= 0 {
		s.end(c, j, modbus.GatewayTarget)
		return
	}
	p := j.stock.points[j.writes[0].Index]
	method, payload := p.From+"/WritePoint", writePoint(p.Point, j.writes[0].Value)
	if p.Call != "" {
		method, payload = p.Call, request(p.Request, j.writes[0].Value)
	}
	master := c.As(actors.Caller{Identity: "master/" + j.master.Name(), Trace: actors.NewTrace(), Proof: j.master.Who()})
	master.Call("cmd/"+method, "application/json", payload, left, j)
}

// called continues a job after a call.
func (s *shop) called(c *actors.Context, m actors.Called) {
	j := m.Tag.(*job)
	switch {
	case m.More:
	case m.Err != nil:
		code, text := actors.Explain(m.Err)
		s.end(c, j, exceptionOf(code, text))
	default:
		j.stock.written(j.writes[0], time.Now())
		j.writes = j.writes[1:]
		c.Worked()
		s.step(c, j)
	}
}

// end answers a request and begins the next ones: that of the same master, and those that have
// waited for it.
func (s *shop) end(c *actors.Context, j *job, code uint8) {
	if code == 0 {
		j.later.Reply(j.answer())
	} else {
		j.later.Refuse(code)
	}
	s.open--
	if queue := s.jobs[j.master][1:]; len(queue) > 0 {
		s.jobs[j.master] = queue
	} else {
		delete(s.jobs, j.master)
	}
	var next []*job
	for _, queue := range s.jobs {
		if !queue[0].running {
			next = append(next, queue[0])
		}
	}
	slices.SortFunc(next, func(a, b *job) int { return a.deadline.Compare(b.deadline) }) // in the order of their arrival
	for _, n := range next {
		if queue := s.jobs[n.master]; len(queue) > 0 && queue[0] == n && !n.running { // else it has begun meanwhile
			s.begin(c, n)
		}
	}
}

// answer returns the response PDU of a request that was carried out.
func (j *job) answer() []byte {
	if j.request.Function == modbus.ReadWriteMultipleRegisters {
		pdu, code := j.stock.image.Read([]byte{j.request.Function}, j.request)
		if code != 0 {
			return modbus.AppendException(nil, j.request.Function, code)
		}
		j.desk.identity.Done()
		return pdu
	}
	pdu, err := modbus.AppendResponse(nil, j.request, modbus.Response{})
	if err != nil {
		return modbus.AppendException(nil, j.request.Function, modbus.DeviceFailure)
	}
	j.desk.identity.Done()
	return pdu
}

// refusal matches the error text in which a unit reports the exception of its device.
var refusal = regexp.MustCompile(`\bunit [0-9]{1,3}: exception ([0-9]{1,3}):`)

// exceptionOf returns the Modbus exception code for the error of a call.
func exceptionOf(code, text string) uint8 {
	switch code {
	case actors.InvalidArgument:
		return modbus.IllegalValue
	case actors.PermissionDenied:
		return modbus.IllegalFunction
	case actors.ResourceExhausted, actors.Aborted:
		return modbus.DeviceBusy
	case actors.Unavailable:
		return modbus.GatewayPath
	case actors.DeadlineExceeded:
		return modbus.GatewayTarget
	case actors.FailedPrecondition:
		if m := refusal.FindStringSubmatch(text); m != nil {
			if n, err := strconv.ParseUint(m[1], 10, 7); err == nil && n > 0 {
				return uint8(n)
			}
		}
	}
	return modbus.DeviceFailure
}

// writePoint returns the request of method WritePoint, in JSON.
func writePoint(point string, v points.Value) []byte {
	field := "number"
	text := literal(v)
	switch v.Kind() {
	case points.IntegerKind:
		field, text = "unsigned", `"`+text+`"`
		if _, ok := v.Int64(); ok {
			field = "integer"
		}
	case points.FlagKind:
		field = "flag"
	case points.TextKind:
		field = "text"
	}
	name, _ := json.Marshal(point) // a string always marshals
	return []byte(`{"point":` + string(name) + `,"` + field + `":` + text + `}`)
}

// request returns a configured request with the value inserted.
func request(template string, v points.Value) []byte {
	if template == "" {
		template = `{"value":` + placeholder + `}`
	}
	return []byte(strings.ReplaceAll(template, placeholder, literal(v)))
}

// literal returns a value in JSON.
func literal(v points.Value) string {
	if text, ok := v.Text(); ok {
		b, _ := json.Marshal(text)
		return string(b)
	}
	return v.String()
}
