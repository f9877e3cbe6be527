"""The addresses of a cluster and the wires between its rooms. All of it lies in namespaces: no two clusters meet."""

from dataclasses import dataclass

from tests.cluster.harness.room import Room

CONTROL = "192.168.77.1"  # the control plane, and the way out for everybody
API_PORT = 6443
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/16"
# Stands for the world outside: an address of the control plane's room that no policy names as ours.
OUTSIDE = "198.51.100.7"
METADATA = "169.254.169.254"
INTRANET = "172.20.0.9"
_BRIDGE = "lan0"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is; numbers start at 1."""

    number: int

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> str:
        return f"192.168.77.{10 + self.number}"

    @property
    def pods(self) -> str:
        return f"10.244.{self.number}.0/24"


def lay_bridge(control: Room) -> None:
    """Give the control plane's room the bridge that all nodes are plugged into, and the stand-ins for the world."""
    addresses = [f"ip addr add {address}/32 dev lo" for address in (OUTSIDE, METADATA, INTRANET)]
    bridge = f"ip link add {_BRIDGE} type bridge; ip addr add {CONTROL}/24 dev {_BRIDGE}; ip link set {_BRIDGE} up"
    control.run("/bin/sh", "-ec", "; ".join([bridge, *addresses]))


def plug_in(control: Room, node: Room, place: Place) -> None:
    """Lay a wire from the bridge to a node, and tell everybody the way to its pods."""
    wire = f"{place.name}0"
    control.wire("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", node.pid)
    control.wire("link", "set", wire, "master", _BRIDGE, "up")
    node.wire("addr", "add", f"{place.address}/24", "dev", "eth0")
    node.wire("link", "set", "eth0", "up")
    node.wire("route", "add", "default", "via", CONTROL)
    control.wire("route", "add", place.pods, "via", place.address)
    if place.number == 1:
        control.wire("route", "add", SERVICES, "via", place.address)


def tell_way(node: Room, other: Place) -> None:
    """Tell a node the way to the pods of another one."""
    node.wire("route", "replace", other.pods, "via", other.address)
