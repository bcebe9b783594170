package uplinkv1

// GetCommands returns the commands of hosts: exactly those of the metrics that they may write.
func (x *UplinkSparkplug) GetCommands() *Commands {
	c := &Commands{Timeout: x.GetWriteTimeout()}
	for _, w := range x.GetWrites() {
		c.Allow = append(c.Allow, "cmd/"+w.Actor+"/"+w.Method)
	}
	return c
}
