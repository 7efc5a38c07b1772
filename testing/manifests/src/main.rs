//! `manifests [ROOT]`: writes the generated manifests of a tree, by default the current folder.

use std::{env, io, path::PathBuf};

fn main() -> io::Result<()> {
    manifests::write(&env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from))
}
