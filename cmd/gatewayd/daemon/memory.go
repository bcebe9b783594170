package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/mqtt"
)

// settled is when a start is over, with everything that only it needs.
const settled = 5 * time.Second

// tuneMemory trades a little work of the garbage collector for a small daemon; an
// operator's own GOGC or GOMEMLIMIT wins.
func tuneMemory() {
	mqtt.DropCases()
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(10) // a start leaves much behind: what stays is to lie where that was, not beyond it
	time.AfterFunc(settled, func() {
		debug.SetGCPercent(thrifty)
		debug.FreeOSMemory()
		debug.FreeOSMemory() // what lies in pools outlives one collection
		_ = dropProgram()    // a kernel without /proc: then it stays
		(&collector{last: time.Now(), percent: thrifty}).follow()
	})
}

// dropProgram takes the program's own pages out of this process. Most of what a
// start runs and reads is never needed again, and what is comes back from the
// page cache, some 64 KiB at a time.
func dropProgram() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer func() { _ = maps.Close() }()
	return eachUnwritten(maps, self, func(from, to uintptr) error {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); failed != 0 {
			return failed
		}
		return nil
	})
}

// eachUnwritten calls each for the ranges of addresses where file is mapped and
// cannot have been written to, as maps (proc_pid_maps(5)) has them.
func eachUnwritten(maps io.Reader, file string, each func(from, to uintptr) error) error {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to, offset, inode uintptr
		var may, device, name string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d %s", &from, &to, &may, &offset, &device, &inode, &name); n < 7 {
			continue // without a name it is no file
		}
		if name != file || strings.Contains(may, "w") {
			continue
		}
		if err := each(from, to); err != nil {
			return err
		}
	}
	return lines.Err()
}
