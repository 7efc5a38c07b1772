#!/bin/bash
# Unpacks PgBouncer of Debian trixie, with the libraries it needs, into a folder. Installs nothing: bookworm's libraries are older, and its
# PgBouncer 1.18 cannot keep prepared statements in transaction mode.
#
#   pgbouncer.sh FOLDER       # afterwards FOLDER/pgbouncer runs it
set -euo pipefail
cd "$1"
rm -rf apt debs root
mkdir -p apt/lists/partial apt/archives/partial debs
# The mirror that this machine uses for its own release.
# shellcheck disable=SC2016 # apt-get expands $(REPO_URI)
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >apt/sources.list
apt=(-o "Dir::Etc::sourcelist=$PWD/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$PWD/apt/lists"
    -o "Dir::Cache=$PWD/apt" -o "APT::Sandbox::User=$(id -un)")
apt-get "${apt[@]}" --quiet=2 update
(cd debs && apt-get "${apt[@]}" --quiet=2 download pgbouncer libc6 libcares2 libevent-2.1-7t64 libpam0g libssl3t64 libsystemd0 \
    libaudit1 libcap-ng0 libcap2 libzstd1 zlib1g)
for deb in debs/*.deb; do dpkg -x "$deb" root; done
rm -r apt debs
lib=$(dirname "$(echo "$PWD"/root/usr/lib/*/libc.so.6)")
printf '#!/bin/sh\nexec %s --library-path %s %s/root/usr/sbin/pgbouncer "$@"\n' "$lib"/ld-linux-*.so.* "$lib" "$PWD" >pgbouncer
chmod +x pgbouncer
./pgbouncer --version >/dev/null
