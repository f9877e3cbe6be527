package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// world is what the apiserver knows, seen from one node.
type world struct {
	node       string
	pods       []*core.Pod
	namespaces []*core.Namespace
	policies   []*networking.NetworkPolicy
}

// chain holds the rules for one direction of one pod; what no rule accepts is dropped.
type chain struct {
	name  string
	match string // picks the packets that the chain is for
	rules []string
}

// chains returns one for every pod of the node and direction that some policy selects, in a stable order.
func (w world) chains() []chain {
	var found []chain
	for _, pod := range w.pods {
		if pod.Spec.NodeName != w.node || !lives(pod) {
			continue
		}
		for _, direction := range []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress} {
			if made, guarded := w.chain(pod, direction); guarded {
				found = append(found, made)
			}
		}
	}
	sort.Slice(found, func(a, b int) bool { return found[a].name < found[b].name })
	return found
}

// known returns the addresses of the node's own pods.
func (w world) known() []string {
	var found []string
	for _, pod := range w.pods {
		if pod.Spec.NodeName == w.node && lives(pod) {
			found = append(found, pod.Status.PodIP)
		}
	}
	sort.Strings(found)
	return found
}

func (w world) chain(pod *core.Pod, direction networking.PolicyType) (chain, bool) {
	sum := sha256.Sum256([]byte(string(pod.UID) + string(direction)))
	made := chain{name: "KQI-" + hex.EncodeToString(sum[:10]), match: "-d " + pod.Status.PodIP}
	if direction == networking.PolicyTypeEgress {
		made.match = "-s " + pod.Status.PodIP
	}
	guarded := false
	for _, policy := range w.policies {
		if policy.Namespace != pod.Namespace || !applies(policy, direction) || !selects(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		guarded = true
		if direction == networking.PolicyTypeIngress {
			for _, rule := range policy.Spec.Ingress {
				made.rules = append(made.rules, w.accepts("-s", policy.Namespace, rule.From, rule.Ports, pod)...)
			}
			continue
		}
		for _, rule := range policy.Spec.Egress {
			made.rules = append(made.rules, w.accepts("-d", policy.Namespace, rule.To, rule.Ports, nil)...)
		}
	}
	return made, guarded
}

// accepts returns the rules for peers and ports; `target` is the pod whose named ports count, or each peer's own.
func (w world) accepts(option, namespace string, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort, target *core.Pod) []string {
	if len(peers) == 0 {
		return withPorts("", ports, target)
	}
	var rules []string
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil {
			if !strings.Contains(block.CIDR, ":") {
				rules = append(rules, withPorts(outside(option, block), ports, target)...)
			}
			continue
		}
		for _, other := range w.peers(namespace, peer) {
			named := target
			if named == nil {
				named = other
			}
			rules = append(rules, withPorts(option+" "+other.Status.PodIP, ports, named)...)
		}
	}
	return rules
}

// outside matches the range but what it excepts.
func outside(option string, block *networking.IPBlock) string {
	side := map[string]string{"-s": "--src-range", "-d": "--dst-range"}[option]
	match := option + " " + block.CIDR
	for _, except := range block.Except {
		match += fmt.Sprintf(" -m iprange ! %s %s", side, span(except))
	}
	return match
}

func (w world) peers(namespace string, peer networking.NetworkPolicyPeer) []*core.Pod {
	inside := map[string]bool{namespace: peer.NamespaceSelector == nil}
	if peer.NamespaceSelector != nil {
		for _, space := range w.namespaces {
			inside[space.Name] = selects(peer.NamespaceSelector, space.Labels)
		}
	}
	var found []*core.Pod
	for _, pod := range w.pods {
		if inside[pod.Namespace] && lives(pod) && (peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)) {
			found = append(found, pod)
		}
	}
	return found
}

func withPorts(match string, ports []networking.NetworkPolicyPort, target *core.Pod) []string {
	if len(ports) == 0 {
		return []string{match}
	}
	var rules []string
	for _, port := range ports {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		rule := match + " -p " + strings.ToLower(string(protocol))
		if port.Port == nil {
			rules = append(rules, rule)
			continue
		}
		for _, number := range numbers(*port.Port, protocol, target) {
			span := fmt.Sprint(number)
			if port.EndPort != nil {
				span = fmt.Sprintf("%d:%d", number, *port.EndPort)
			}
			rules = append(rules, fmt.Sprintf("%s --dport %s", rule, span))
		}
	}
	return rules
}

func numbers(port intstr.IntOrString, protocol core.Protocol, target *core.Pod) []int32 {
	if port.Type == intstr.Int {
		return []int32{port.IntVal}
	}
	var found []int32
	if target != nil {
		for _, container := range target.Spec.Containers {
			for _, offered := range container.Ports {
				if offered.Name == port.StrVal && offered.Protocol == protocol {
					found = append(found, offered.ContainerPort)
				}
			}
		}
	}
	return found
}

func applies(policy *networking.NetworkPolicy, direction networking.PolicyType) bool {
	for _, one := range policy.Spec.PolicyTypes {
		if one == direction {
			return true
		}
	}
	return false
}

func selects(selector *meta.LabelSelector, set map[string]string) bool {
	compiled, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(labels.Set(set))
}

// lives tells whether the pod has an address of its own: that of one that ended may belong to another.
func lives(pod *core.Pod) bool {
	ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
	return pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !ended
}
