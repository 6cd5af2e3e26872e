package outgoing

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Dialer connects only where allowed has nothing against it, by the address that
// is really connected to, whatever name has led there. allowed may be nil.
func Dialer(within time.Duration, allowed func(netip.Addr) error) *net.Dialer {
	d := &net.Dialer{Timeout: within, KeepAlive: keepAlive}
	if allowed == nil {
		return d
	}
	d.Control = func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return allowed(at.Addr())
	}
	return d
}

const keepAlive = 30 * time.Second

// Meant is the address that is reached in the end: one of IPv4 may be written into
// one of IPv6, for translators (RFC 6052), 6to4 (RFC 3056), or as mapped.
func Meant(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	bytes := ip.As16()
	const tail, head = 12, 2
	switch {
	case translated.Contains(ip):
		return netip.AddrFrom4([4]byte(bytes[tail:]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(bytes[head : head+4]))
	}
	return ip
}

// The networks of translators and of 6to4, and where the metadata service of AWS is
// over IPv6.
var (
	translated  = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour   = netip.MustParsePrefix("2002::/16")
	awsMetadata = netip.MustParseAddr("fd00:ec2::254")
)

// LinkLocal says whether an address is one of the link, where the metadata services
// of clouds are.
func LinkLocal(ip netip.Addr) bool {
	ip = Meant(ip)
	return ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip == awsMetadata
}

// Local says whether an address is one of this machine. own are its addresses, as
// net.InterfaceAddrs has them.
func Local(ip netip.Addr, own func() ([]net.Addr, error)) bool {
	ip = Meant(ip)
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addresses, err := own()
	if err != nil {
		return false // the machine does not say
	}
	return slices.ContainsFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}
