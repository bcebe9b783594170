// Command gatewayd is the gateway daemon for industrial sites that nobody
// visits, and the tool to look into a running one.
//
// kinds.go lists the actor types that it can run, commands.go what can be typed.
// What a command does is in a folder by its subject: daemon runs a gateway, access
// lets people into it, demo shows one; look and fleet look into one that runs, or
// many; device and standin are a technician's tools. They stand on client, the way
// to a running gateway, files, what one has on disk, terminal, what people see of
// all that, and exit, the code it ends with.
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
	runtime.MemProfileRate = 0 // nobody reads that profile, and its table takes a page for every place that allocates
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
			<-signals // one signal that reaches a process twice is no impatience
		}
		fmt.Fprintln(os.Stderr, "gatewayd: told to stop twice: leaving at once")
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
