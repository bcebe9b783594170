package mqttdevice_test

import (
	"os/exec"
	"syscall"
)

// group returns the attributes to start a command in a process group of its own, which end kills.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func end(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
