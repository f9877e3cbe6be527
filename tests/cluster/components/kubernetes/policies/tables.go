package policies

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"strings"
)

const entry = "KQI-POLICY"

// tables remembers which chains were made, so that those of pods that are gone can be removed.
// The mangle table is used because kube-proxy accepts packets in the filter table.
type tables struct {
	hooked bool
	made   []string
}

// apply replaces all rules at once. A pod of the range that is not known yet reaches nobody until it is.
func (t *tables) apply(chains []chain, known []string, pods string) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "*mangle\n:%s - [0:0]\n", entry)
	now := map[string]bool{}
	for _, one := range chains {
		now[one.name] = true
		fmt.Fprintf(&text, ":%s - [0:0]\n", one.name)
	}
	var gone []string
	for _, name := range t.made {
		if !now[name] {
			gone = append(gone, name)
			fmt.Fprintf(&text, ":%s - [0:0]\n", name)
		}
	}
	fmt.Fprintf(&text, "-A %s -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN\n", entry)
	for _, one := range chains {
		fmt.Fprintf(&text, "-A %s %s -j %s\n", entry, one.match, one.name)
		for _, rule := range one.rules {
			fmt.Fprintf(&text, "-A %s %s -j RETURN\n", one.name, rule)
		}
		fmt.Fprintf(&text, "-A %s -j DROP\n", one.name)
	}
	for _, address := range known {
		fmt.Fprintf(&text, "-A %s -s %s -j RETURN\n", entry, address)
	}
	fmt.Fprintf(&text, "-A %s -s %s -j DROP\n", entry, pods)
	for _, name := range gone {
		fmt.Fprintf(&text, "-X %s\n", name)
	}
	text.WriteString("COMMIT\n")
	if err := run(text.String(), "iptables-restore", "--wait", "--noflush"); err != nil {
		return err
	}
	t.made = t.made[:0]
	for name := range now {
		t.made = append(t.made, name)
	}
	return t.hook()
}

func (t *tables) hook() error {
	if t.hooked {
		return nil
	}
	for _, from := range []string{"FORWARD", "INPUT"} {
		if err := run("", "iptables", "--wait", "-t", "mangle", "-I", from, "1", "-j", entry); err != nil {
			return err
		}
	}
	t.hooked = true
	return nil
}

func run(text, name string, arguments ...string) error {
	command := exec.Command(name, arguments...)
	command.Stdin = strings.NewReader(text)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s\n%s", name, err, output, text)
	}
	return nil
}

// span writes a range of addresses as first-last.
func span(cidr string) string {
	_, network, err := net.ParseCIDR(cidr)
	if err != nil {
		return cidr + "-" + cidr
	}
	first := binary.BigEndian.Uint32(network.IP.To4())
	last := first | ^binary.BigEndian.Uint32(network.Mask)
	end := make(net.IP, 4)
	binary.BigEndian.PutUint32(end, last)
	return network.IP.String() + "-" + end.String()
}
