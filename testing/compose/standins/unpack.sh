# Unpacks packages of another Debian release into ./root, without installing them: unpack.sh RELEASE PACKAGE…
# shellcheck shell=bash disable=SC2016 # $(REPO_URI) is for apt
release=$1
shift
rm -rf apt debs root
mkdir -p apt/lists/partial apt/archives/partial debs root
# The mirror that this machine uses for its own release.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
mirror=${mirror:-http://deb.debian.org/debian}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >apt/sources.list
apt=(apt-get --quiet=2 -o "Dir::Etc::sourcelist=$PWD/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State::lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt" -o APT::Sandbox::User=root)
"${apt[@]}" update
(cd debs && "${apt[@]}" download "$@")
for deb in debs/*.deb; do
    dpkg -x "$deb" root
done
rm -rf apt debs
