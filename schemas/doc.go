package schemas

import (
	_ "embed"
	"strings"
)

//go:generate sh -c "go tool -modfile=../tools/go.mod buf build --as-file-descriptor-set --exclude-imports -o - | go run ./internal/docgen docs.txt"

// docs has a line per name: the full name, a tab, the comment.
//
//go:embed docs.txt
var docs string

// Doc returns the comment of a message, field, service or method by its full name, e.g.
// "modbus.v1.SerialLine.baud", or "" if there is none. It searches the embedded text and keeps
// nothing in memory.
func Doc(fullName string) string {
	key := fullName + "\t"
	at := 0
	if !strings.HasPrefix(docs, key) {
		if at = strings.Index(docs, "\n"+key) + 1; at == 0 {
			return ""
		}
	}
	text, _, _ := strings.Cut(docs[at+len(key):], "\n")
	return text
}
