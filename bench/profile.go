package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
)

// profileEnv names a directory for profiles of the measuring processes: <figure>.cpu and, where
// memory is measured, <figure>.heap, for go tool pprof.
const profileEnv = "GATEWAYD_BENCH_PROFILE"

// profile writes a CPU profile of this process if profileEnv is set.
func profile(name string) (done func(), err error) {
	dir := os.Getenv(profileEnv)
	if dir == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(dir, name+".cpu"))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, err
}

// snapshot writes a heap profile if profileEnv is set.
func snapshot(name string) {
	dir := os.Getenv(profileEnv)
	if dir == "" {
		return
	}
	f, err := os.Create(filepath.Join(dir, name+".heap"))
	if err == nil {
		err = pprof.Lookup("heap").WriteTo(f, 0)
		f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
