package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestOnlyWhatCannotBeWrittenIsDropped(t *testing.T) {
	maps := strings.Join([]string{
		"00400000-01094000 r-xp 00000000 fe:00 9986135                            /usr/bin/gatewayd",
		"01094000-01db3000 r--p 00c94000 fe:00 9986135                            /usr/bin/gatewayd",
		"01db3000-01e29000 rw-p 019b3000 fe:00 9986135                            /usr/bin/gatewayd",
		"01e29000-03e72000 rw-p 00000000 00:00 0 ",
		"7f55da000000-7f55da031000 r--p 00000000 fe:00 17                         /var/lib/gatewayd/store",
		"7fff87915000-7fff87936000 rw-p 00000000 00:00 0                          [stack]",
	}, "\n")
	var got []string
	err := eachUnwritten(strings.NewReader(maps), "/usr/bin/gatewayd", func(from, to uintptr) error {
		got = append(got, fmt.Sprintf("%x-%x", from, to))
		return nil
	})
	if want := "[400000-1094000 1094000-1db3000]"; err != nil || fmt.Sprint(got) != want {
		t.Fatalf("dropped %v, %v; want %s", got, err, want)
	}
}

func TestProgramGoesOnWithoutItsPages(t *testing.T) {
	before := residentFile(t)
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%d KiB of files are resident, %d before", after, before)
	}
}

// residentFile returns the resident memory of this process that is mapped from files, in KiB.
func residentFile(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}
