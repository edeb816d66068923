#!/usr/bin/env bash
# Certificates for the bus, with nothing but openssl.
#
#   make-tls.sh authorities DIR             two authorities: one for servers, one for clients
#   make-tls.sh node DIR NAME HOST...       a node's certificate; HOST: each name and address it is reached under
#   make-tls.sh client DIR NAME             a ledger host's or a producer's certificate
#
# DIR/private holds the authorities' keys. It belongs on no machine of the bus: run this elsewhere, carry the results.
# A node gets DIR/NAME/* as tls/ beside node.conf. A client gets client.pem, client-key.pem and servers-ca.pem.
# Nothing is ever overwritten: to renew a certificate, move the old folder away first.
set -euo pipefail
umask 077

DAYS_AUTHORITY=3650
DAYS_LEAF=397

usage() {
  sed -n '4,6s/^# *//p' "$0" >&2
  exit 2
}

refuse() {
  echo "make-tls.sh: $*" >&2
  exit 2
}

# Names go into a certificate and a path: the same letters as the names of producers.
check_name() {
  [[ $1 =~ ^[a-z0-9][a-z0-9.-]{0,62}$ ]] || refuse "not a name: '$1'; use 1 to 63 of a-z, 0-9, '.' and '-'"
}

new_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

authority() { # DIR, servers|clients
  new_key "$1/private/$2-ca-key.pem"
  openssl req -x509 -new -sha256 -key "$1/private/$2-ca-key.pem" -days "$DAYS_AUTHORITY" -out "$1/$2-ca.pem" \
    -subj "/O=Sharetrail bus/CN=$2" -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign"
  chmod 644 "$1/$2-ca.pem"
}

leaf() { # DIR, authority, folder, file, common name, usages, alternative names
  local key="$3/$4-key.pem" certificate="$3/$4.pem"
  new_key "$key"
  openssl req -new -sha256 -key "$key" -subj "/O=Sharetrail bus/CN=$5" |
    openssl x509 -req -sha256 -days "$DAYS_LEAF" -CA "$1/$2-ca.pem" -CAkey "$1/private/$2-ca-key.pem" \
      -set_serial "0x$(openssl rand -hex 16)" -out "$certificate" -extfile <(
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$6"
        echo "subjectAltName=$7"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
      )
  chmod 644 "$certificate"
}

new_folder() { # DIR, NAME
  [[ -f $1/private/servers-ca-key.pem ]] || refuse "no authorities in $1; make them: make-tls.sh authorities $1"
  [[ ! -e $1/$2 ]] || refuse "$1/$2 is there already; move it away to make a new one"
  mkdir "$1/$2"
}

case "${1:-}" in
authorities)
  [[ $# -eq 2 ]] || usage
  [[ ! -e $2/private ]] || refuse "$2/private is there already; every certificate would have to be made anew"
  mkdir -p "$2/private"
  authority "$2" servers
  authority "$2" clients
  ;;
node)
  [[ $# -ge 4 ]] || usage
  dir=$2 name=$3
  check_name "$name"
  shift 3
  names=()
  for host in "$@"; do
    if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then names+=("IP:$host"); else names+=("DNS:$host"); fi
  done
  new_folder "$dir" "$name"
  # A node is a server to clients, and both to other nodes.
  leaf "$dir" servers "$dir/$name" node "$name" "serverAuth,clientAuth" "$(IFS=,; echo "${names[*]}")"
  cp "$dir/servers-ca.pem" "$dir/clients-ca.pem" "$dir/$name/"
  ;;
client)
  [[ $# -eq 3 ]] || usage
  check_name "$3"
  new_folder "$2" "$3"
  leaf "$2" clients "$2/$3" client "$3" "clientAuth" "DNS:$3"
  cp "$2/servers-ca.pem" "$2/$3/"
  ;;
*) usage ;;
esac
