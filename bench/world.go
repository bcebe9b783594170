package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

const gateway = "bench"

// world is a bus with its store, and a tree of actors under real groups.
type world struct {
	bus  *bus.Bus
	sys  *actors.System
	tree *supervisor.Tree
	stop func()
}

// quiet discards log output, after formatting it as usual.
var quiet = slog.New(slog.NewTextHandler(discard{}, &slog.HandlerOptions{Level: slog.LevelInfo}))

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func newWorld(dir string, kinds ...actors.Kind) (*world, error) {
	return newWorldOf(dir, 0, kinds...)
}

// newWorldOf is newWorld with a given amount of space for tracks, in bytes.
func newWorldOf(dir string, tracks int64, kinds ...actors.Kind) (*world, error) {
	b, err := bus.Start(bus.Config{Gateway: gateway, Dir: filepath.Join(dir, "bus"), MaxTracks: tracks, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		return nil, err
	}
	w := &world{bus: b, sys: actors.NewSystem(gateway, b.Conn(), quiet)}
	if w.stop, err = w.sys.Serve(); err != nil {
		b.Close()
		return nil, err
	}
	w.tree = supervisor.New(supervisor.Options{System: w.sys, Kinds: kinds, Starve: func(path, why string) {
		fmt.Fprintln(os.Stderr, "the watchdog starved:", path, why)
	}})
	return w, nil
}

func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = w.tree.Stop(ctx)
	w.stop()
	w.bus.Close()
}

// forest returns a config of groups of actors of one kind: g0/a0, g0/a1 …
func forest(groups, each int, kind string) *config.Tree {
	top := &gatewayv1.Gateway{Gateway: gateway}
	schemas.Defaults(top)
	root := &config.Node{Config: top}
	for i := range groups {
		g := group(fmt.Sprintf("g%d", i))
		for k := range each {
			g.Children = append(g.Children, &config.Node{Path: fmt.Sprintf("%s/a%d", g.Path, k), Kind: kind, Config: &structpb.Struct{}})
		}
		root.Children = append(root.Children, g)
	}
	return &config.Tree{Root: root}
}

// group returns a group that restarts a failed child at once, practically without limit.
func group(path string) *config.Node {
	g := &gatewayv1.Group{Ladder: []string{"restart 1000 in 100ms", "quarantine"}, Backoff: durationpb.New(0)}
	schemas.Defaults(g)
	return &config.Node{Path: path, Config: g}
}
