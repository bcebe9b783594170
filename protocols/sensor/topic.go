package sensor

import (
	"fmt"
	"strings"
)

// Name stands for the name of a device in the topics of a profile.
const Name = "{device}"

// Expand inserts the device's name into a topic, and returns an error if the result is not valid.
func Expand(topic, device string) (string, error) {
	if !strings.Contains(topic, Name) {
		return topic, nil
	}
	if device == "" {
		return "", fmt.Errorf("topic %q: %s stands for the name of the device in its topics: set device", topic, Name)
	}
	return strings.ReplaceAll(topic, Name, device), nil
}
