// Command gatewayd is the gateway daemon for unattended industrial sites, and the tool to inspect a
// running gateway.
//
// kinds.go lists the actor types it can run, commands.go the commands. The code of a command is in
// the package of its subject: daemon runs a gateway, access manages identities and certificates,
// demo runs a demonstration; look and fleet inspect one running gateway or many; device and standin
// are tools for technicians. These packages share client, the connection to a running gateway;
// files, the data on disk; terminal, the output for people; and exit, the exit codes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"gatewayd/cmd/gatewayd/exit"
)

func main() {
	runtime.MemProfileRate = 0 // nobody reads the memory profile, and its table takes a page for every call site that allocates
	os.Exit(execute())
}

// execute runs the command line and returns the exit code.
func execute() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		for begin := time.Now(); time.Since(begin) < time.Second; {
			<-signals // a single request to stop may be delivered twice: signals within a second count as one
		}
		fmt.Fprintln(os.Stderr, "gatewayd: second signal: exiting at once")
		os.Exit(1)
	}()
	serve, err := parsed(ctx)
	if err == nil && serve != nil {
		err = exit.Marked(serve(ctx))
	}
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "gatewayd: "+text)
	}
	return exit.Code(err)
}
