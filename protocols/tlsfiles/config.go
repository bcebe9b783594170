package tlsfiles

// ServerConfig is a config that names the files of a listener.
type ServerConfig interface {
	GetCertFile() string
	GetKeyFile() string
	GetCaFile() string
}

// FilesOf are the files that a config names.
func FilesOf(c ServerConfig) Files {
	return Files{Certificate: c.GetCertFile(), Key: c.GetKeyFile(), CA: c.GetCaFile()}
}

// ClientConfig is a config that names the files of the client of somebody else's server.
type ClientConfig interface {
	ServerConfig
	GetServerName() string
}

// ClientOf is what a config says; of a nil message all is empty.
func ClientOf(c ClientConfig) Client {
	return Client{CA: c.GetCaFile(), Cert: c.GetCertFile(), Key: c.GetKeyFile(), ServerName: c.GetServerName()}
}
