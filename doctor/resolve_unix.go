//go:build unix

package doctor

import (
	"net"

	"github.com/miekg/dns"
)

// resolvConf is where the C library and Go read the resolvers, macOS included.
const resolvConf = "/etc/resolv.conf"

// systemResolvers returns host:port of each DNS server, none if they can't be told.
func systemResolvers() (servers []string) {
	config, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return nil
	}
	for _, server := range config.Servers {
		servers = append(servers, net.JoinHostPort(server, config.Port))
	}
	return servers
}
