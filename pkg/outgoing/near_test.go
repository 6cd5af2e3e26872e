package outgoing

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestNear_AddressesInEveryForm(t *testing.T) {
	own := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.ParseIP("10.1.1.1"), Mask: net.CIDRMask(24, 32)}}, nil
	}
	for address, want := range map[string]string{
		"127.0.0.1": "local", "::1": "local", "0.0.0.0": "local", "::": "local", "10.1.1.1": "local", "::ffff:10.1.1.1": "local", "64:ff9b::7f00:1": "local", "2002:7f00:1::": "local",
		"169.254.169.254": "link", "fe80::1%lo": "link", "64:ff9b::a9fe:a9fe": "link", "2002:a9fe:a9fe::1": "link", "fd00:ec2::254": "link",
		"10.1.1.2": "", "93.184.216.34": "", "64:ff9b::5db8:d822": "", "2606:2800:220:1::1": "",
	} {
		ip := netip.MustParseAddr(address)
		if Local(ip, own) != (want == "local") || LinkLocal(ip) != (want == "link") {
			t.Errorf("%s: local %v, link %v", address, Local(ip, own), LinkLocal(ip))
		}
	}
	if Local(netip.MustParseAddr("10.1.1.1"), func() ([]net.Addr, error) { return nil, errors.New("no") }) {
		t.Error("a machine that does not say what it has")
	}
}

func TestDialer_AsksByTheAddressItConnectsTo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	refusal := errors.New("not there")
	asked := netip.Addr{}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Dialer(time.Second, func(ip netip.Addr) error { asked = ip; return refusal }).DialContext(t.Context(), "tcp4", "localhost:"+port)
	if !errors.Is(err, refusal) || asked.String() != "127.0.0.1" {
		t.Error(asked, err)
	}
	conn, err := Dialer(time.Second, nil).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
