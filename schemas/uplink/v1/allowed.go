package uplinkv1

// GetCommands is what hosts may have done: what the metrics that they may write are for, and no more.
func (x *UplinkSparkplug) GetCommands() *Commands {
	c := &Commands{Timeout: x.GetWriteTimeout()}
	for _, w := range x.GetWrites() {
		c.Allow = append(c.Allow, "cmd/"+w.Actor+"/"+w.Method)
	}
	return c
}
