package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatewayd/protocols/audit"
	actorv1 "gatewayd/schemas/actor/v1"
)

// With a completely full disk the audit log is still written, several times around its files and
// through a kill. Afterwards it verifies without a gateway.
func TestFaultAuditOnAFullDisk(t *testing.T) {
	s := newSite(t)
	s.extra = "\n[audit]\nkind = \"audit-log\"\nfiles = 2\nfile-size = 65536\n"
	s.disk("6m")
	r := s.start()
	r.until("the log is open", func() bool { return r.state1("audit") == "ok" })
	free := s.fill()
	const calls = 700 // enough to go around all files
	for n := 0; n < calls; {
		if r.call("drill", "Describe", &actorv1.DescribeRequest{}, &actorv1.DescribeResponse{}) == nil { // the bus may be restarting meanwhile
			n++
		}
	}
	dir := filepath.Join(s.data, "actors", "audit")
	rep := audit.Report{}
	r.until("all is in the log", func() bool {
		var err error
		rep, err = audit.Verify(dir, "")
		return err == nil && rep.Last >= calls // besides the records of the log's own starts
	})
	r.kill()
	last, err := audit.Verify(dir, rep.Head)
	if err != nil || last.First <= 1 {
		t.Fatalf("%+v: %v", last, err)
	}
	free()
	r = s.start()
	r.until("the log is open again", func() bool { return r.state1("audit") == "ok" })
	r.must("drill", "Describe", &actorv1.DescribeRequest{}, &actorv1.DescribeResponse{})
	r.stop(faultWait)
	file, err := faultBinary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file, "audit", "verify", "--data", s.data, "--head", rep.Head).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "are intact") {
		t.Errorf("%s (%v)", out, err)
	}
	if after, err := audit.Verify(dir, ""); err != nil || after.Last <= last.Last {
		t.Errorf("%+v after %+v: %v", after, last, err)
	}
	for _, f := range [...]string{"audit-00.log", "audit-01.log"} {
		text, err := exec.Command("grep", "-ac", `"what":"lost"`, filepath.Join(dir, f)).Output()
		if err == nil { // grep has found lost records
			t.Errorf("%s: %s records were lost", f, text)
		}
	}
}
