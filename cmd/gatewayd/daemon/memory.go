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

// settled is the time after which a start is over and the memory that only the start needed can be
// returned.
const settled = 5 * time.Second

// tuneMemory trades a little more work of the garbage collector for a small daemon. GOGC or
// GOMEMLIMIT in the environment take precedence.
func tuneMemory() {
	mqtt.DropCases()
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(10) // a start leaves much garbage: lasting objects should reuse its space instead of growing the heap
	time.AfterFunc(settled, func() {
		debug.SetGCPercent(thrifty)
		debug.FreeOSMemory()
		debug.FreeOSMemory() // objects in pools survive one collection
		_ = dropProgram()    // without /proc the pages stay
		(&collector{last: time.Now(), percent: thrifty}).follow()
	})
}

// dropProgram drops the pages of the program file from this process. Most of the code and data used
// at the start is never needed again; pages that are come back from the page cache, some 64 KiB at
// a time.
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

// eachUnwritten calls each for the address ranges at which file is mapped without write permission.
// maps is in the format of proc_pid_maps(5).
func eachUnwritten(maps io.Reader, file string, each func(from, to uintptr) error) error {
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to, offset, inode uintptr
		var may, device, name string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d %s", &from, &to, &may, &offset, &device, &inode, &name); n < 7 {
			continue // without a name it is not a file
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
