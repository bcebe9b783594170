package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/schemas"
)

// mistyped explains in one line why cobra refused a command line, and what was probably meant.
// reason is the message of cobra.
func mistyped(cmd *cobra.Command, reason string) string {
	var name string
	scan := func(format string) bool {
		n, _ := fmt.Sscanf(reason, format, &name)
		return n == 1
	}
	switch {
	case scan("unknown command %q") && cmd.HasSubCommands():
		return reason + schemas.DidYouMean(name, subcommands(cmd))
	case negative(reason):
		return reason[strings.LastIndexByte(reason, ' ')+1:] + " is read as a flag: write -- before the first argument to pass a negative number"
	case strings.Contains(reason, ": strconv."):
		return misread(reason)
	case scan("unknown flag: %s"):
		return reason + schemas.DidYouMean(name, flagsOf(cmd))
	case scan("unknown command %q"), strings.HasPrefix(reason, "accepts "), strings.HasPrefix(reason, "requires "):
		return "write it as: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
	}
	return strings.TrimSpace(reason)
}

// negative reports whether cobra took a negative number for flags.
func negative(reason string) bool {
	var first rune
	n, _ := fmt.Sscanf(reason, "unknown shorthand flag: '%c' in", &first)
	return n == 1 && '0' <= first && first <= '9'
}

// misread returns the message for a flag value of the wrong type, without the wording of strconv.
func misread(reason string) string {
	what, cause, _ := strings.Cut(reason, ": strconv.")
	switch {
	case strings.HasSuffix(cause, "out of range"):
		return what + ": out of range"
	case strings.HasPrefix(cause, "ParseBool"):
		return what + ": want true or false"
	case strings.HasPrefix(cause, "ParseFloat"):
		return what + ": want a number"
	}
	return what + ": want a whole number"
}

func subcommands(cmd *cobra.Command) (names []string) {
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return names
}

func flagsOf(cmd *cobra.Command) (names []string) {
	for _, word := range strings.Fields(cmd.Flags().FlagUsages()) {
		if strings.HasPrefix(word, "--") {
			names = append(names, word)
		}
	}
	return names
}
