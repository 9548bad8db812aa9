package doctor

import (
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
)

// adaptersSize is what the documentation of GetAdaptersAddresses says to begin with.
const adaptersSize = 15 << 10

// systemResolvers returns host:port of each DNS server of an adapter that is up, none
// if they can't be told.
func systemResolvers() (servers []string) {
	size := uint32(adaptersSize)
	const flags = windows.GAA_FLAG_SKIP_UNICAST | windows.GAA_FLAG_SKIP_ANYCAST | windows.GAA_FLAG_SKIP_MULTICAST
	var first *windows.IpAdapterAddresses
	for {
		room := make([]byte, size)
		first = (*windows.IpAdapterAddresses)(unsafe.Pointer(&room[0]))
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, flags, 0, first, &size)
		if err == nil {
			break
		}
		if err != windows.ERROR_BUFFER_OVERFLOW || int(size) <= len(room) {
			return nil
		}
	}
	for adapter := first; adapter != nil; adapter = adapter.Next {
		if adapter.OperStatus != windows.IfOperStatusUp {
			continue
		}
		for server := adapter.FirstDnsServerAddress; server != nil; server = server.Next {
			// Windows lists site-local addresses that nobody has (fec0:0:0:ffff::1 to 3).
			if ip := server.Address.IP(); ip != nil && (ip.To4() != nil || ip[0] != 0xfe) {
				servers = append(servers, net.JoinHostPort(ip.String(), "53"))
			}
		}
	}
	slices.Sort(servers)
	return slices.Compact(servers)
}
