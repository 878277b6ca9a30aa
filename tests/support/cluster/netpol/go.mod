module slipway.test/netpol

go 1.25

require (
	github.com/cloudnativelabs/kube-router/v2 v2.6.3
	k8s.io/apimachinery v0.34.4
	k8s.io/client-go v0.34.4
)

// What k3s runs: https://github.com/k3s-io/k3s/blob/master/go.mod
replace github.com/cloudnativelabs/kube-router/v2 => github.com/k3s-io/kube-router/v2 v2.6.3-k3s1
