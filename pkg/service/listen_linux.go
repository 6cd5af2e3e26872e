package service

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// The sockets of one port are numbered in the order in which they listen, so that
// a successor is the second while its predecessor is there. The kernel gives a new
// connection to the one that a program on the port names, and to any of them where
// there is no program, or no such number.
const successor = 1

// handOver has the kernel give new connections to the successor. Those that wait
// to be taken here would break when the port is let go: taking goes on until then,
// and none comes any more. Without a successor nothing changes, and where the
// kernel has no such programs connections may break.
func handOver(listener net.Listener) {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: successor}}
	onSocket(listener, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &program[0]})
	})
}

// share takes away what an earlier process has said at its end: the next
// successor is not to have everything before it is its turn.
func share(listener net.Listener) {
	onSocket(listener, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0) })
}

// onSocket does something with a listener's socket, where it has one. It is no
// harm where the kernel refuses.
func onSocket(listener net.Listener, do func(fd int) error) {
	of, ok := listener.(syscall.Conn)
	if !ok {
		return
	}
	if conn, err := of.SyscallConn(); err == nil {
		_ = withSocket(conn, do)
	}
}
