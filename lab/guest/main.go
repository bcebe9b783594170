// Command guest exercises one kernel mechanism at a time inside the lab's machine, so that a failing test of the
// daemon can be told from a lab that does not emulate what the daemon needs. It is no part of the product.
package main

import (
	"fmt"
	"os"
)

const usage = `usage: guest keep DEVICE FOLDER     pet until SIGTERM, with the boot record in FOLDER; then disarm
       guest tree CONFIG FOLDER     a gateway whose actors fail, until it is reset
       guest poll PORT              ask Modbus unit 1 for a register for ever; survive unplugs
       guest cycle PORT             take the adapter off and on again under an open port`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("guest:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "keep":
		return keep(args[1], args[2])
	case len(args) == 3 && args[0] == "tree":
		return tree(args[1], args[2])
	case len(args) == 2 && args[0] == "poll":
		return poll(args[1])
	case len(args) == 2 && args[0] == "cycle":
		return cycle(args[1])
	}
	return fmt.Errorf("%s", usage)
}
