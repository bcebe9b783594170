package mqttdevice_test

import (
	"os/exec"
	"syscall"
)

// group starts a command as a group of its own, which end ends.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func end(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
