//go:build race

package supervisor_test

const raced = true // each step costs ten times as much
