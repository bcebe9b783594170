package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/schemas"
)

// mistyped says in one line what is wrong with a command line that cobra has refused for such a reason, and what was meant.
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
		return reason[strings.LastIndexByte(reason, ' ')+1:] + " reads like a flag: a number below zero needs a -- before the first argument"
	case strings.Contains(reason, ": strconv."):
		return misread(reason)
	case scan("unknown flag: %s"):
		return reason + schemas.DidYouMean(name, flagsOf(cmd))
	case scan("unknown command %q"), strings.HasPrefix(reason, "accepts "), strings.HasPrefix(reason, "requires "):
		return "write it as: " + strings.TrimSuffix(cmd.UseLine(), " [flags]")
	}
	return strings.TrimSpace(reason)
}

// negative says whether what was taken for flags is a number.
func negative(reason string) bool {
	var first rune
	n, _ := fmt.Sscanf(reason, "unknown shorthand flag: '%c' in", &first)
	return n == 1 && '0' <= first && first <= '9'
}

// misread is a flag's value that is not what the flag takes, without the words of Go for it.
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
