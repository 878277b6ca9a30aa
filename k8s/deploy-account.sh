#!/usr/bin/env bash
# Creates the service account for deployments, slipway-deploy, and prints a kubeconfig for it. Safe to run again. Needs the
# rights of a cluster administrator.
#
#   deploy-account.sh            print the kubeconfig; the token stays the same
#   deploy-account.sh --renew    print it with a new token; the old one is rejected within seconds
#
# The account and its token are in the namespace $NAMESPACE-deploy (default: slipway-deploy). Only cluster administrators
# can read it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

renew=''
case ${1:-} in
  "") ;;
  -h | --help) usage && exit ;;
  --renew) renew=1 ;;
  *) wrong "$1 is unknown" ;;
esac
need kubectl
end=$((SECONDS + 60))
own=(kubectl --namespace "$namespace-deploy" --request-timeout=60s)

# The account too: a token depends only on the account's uid and the Secret's name, so a new Secret has the same token.
[ -z "$renew" ] || "${own[@]}" delete serviceaccount,secret slipway-deploy --ignore-not-found >/dev/null
while :; do
  sed "s/@namespace@/$namespace/g" "$here/deploy-account.yaml" | kubectl apply --filename=- >/dev/null
  token=$("${own[@]}" get secret slipway-deploy --ignore-not-found -o jsonpath='{.data.token}')
  [ -z "$token" ] || break # otherwise not created yet, or deleted together with the previous account
  [ "$SECONDS" -lt "$end" ] || fail "Kubernetes created no token for the service account slipway-deploy"
  sleep 0.5
done
# In earlier versions, the account and its token were in the namespace itself.
kube delete secret,serviceaccount slipway-deploy --ignore-not-found >/dev/null
server=$(kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}')
authority=$("${own[@]}" get secret slipway-deploy -o jsonpath='{.data.ca\.crt}')
cat <<KUBECONFIG
apiVersion: v1
kind: Config
clusters: [{name: k3s, cluster: {server: "$server", certificate-authority-data: "$authority"}}]
users: [{name: slipway-deploy, user: {token: "$(base64 --decode <<<"$token")"}}]
contexts: [{name: slipway, context: {cluster: k3s, user: slipway-deploy, namespace: "$namespace"}}]
current-context: slipway
KUBECONFIG
