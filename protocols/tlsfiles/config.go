package tlsfiles

// ServerConfig is a config message that names the files of a listener.
type ServerConfig interface {
	GetCertFile() string
	GetKeyFile() string
	GetCaFile() string
}

// FilesOf returns the files that a config names.
func FilesOf(c ServerConfig) Files {
	return Files{Certificate: c.GetCertFile(), Key: c.GetKeyFile(), CA: c.GetCaFile()}
}

// ClientConfig is a config message that names the files of a client.
type ClientConfig interface {
	ServerConfig
	GetServerName() string
}

// ClientOf returns the settings in a config; all are empty for a nil message.
func ClientOf(c ClientConfig) Client {
	return Client{CA: c.GetCaFile(), Cert: c.GetCertFile(), Key: c.GetKeyFile(), ServerName: c.GetServerName()}
}
