package serial

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// inUse returns the error for a port held by another program. It names the programs as far as /proc
// shows them.
func inUse(path string) error {
	who := ""
	if names := holders("/proc", path); len(names) > 0 {
		who = " (" + strings.Join(names, ", ") + ")"
	}
	return fmt.Errorf("port %s is in use by another program%s: %w", path, who, unix.EBUSY)
}

// holders returns the processes that have path open, as "name, pid 7". Only root sees those of
// other users.
func holders(proc, path string) []string {
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil
	}
	links, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/fd/*"))
	var names []string
	last := ""
	for _, link := range links {
		process := filepath.Dir(filepath.Dir(link))
		if target, err := os.Readlink(link); err != nil || target != node || process == last {
			continue
		}
		last = process
		if name, err := os.ReadFile(filepath.Join(process, "comm")); err == nil {
			names = append(names, fmt.Sprintf("%s, pid %s", strings.TrimSpace(string(name)), filepath.Base(process)))
		}
	}
	return names
}
