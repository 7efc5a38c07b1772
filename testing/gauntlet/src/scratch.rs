//! Builds a variant in a scratch tree: a copy of the working tree with one patch applied. The target folder is kept, so that cargo
//! compiles only the patched crates and their dependents.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use lab::{
    dev,
    progress::{quietly, say},
    root,
    topology::target_dir,
};
use shared::catalogue::FUNCTIONS;

/// Builds the working tree with `patch` and returns the folder of the binaries.
pub(crate) fn build(name: &str, patch: &Path) -> anyhow::Result<PathBuf> {
    let scratch = dev().join("variants");
    let (tree, target) = (scratch.join("tree"), scratch.join("target"));
    fs::create_dir_all(&tree)?;
    // Two gauntlets may build concurrently.
    let lock = File::create(scratch.join("lock"))?;
    lock.lock()?;
    if !target.exists() {
        share_dependencies(&target.join("debug"))?;
    }
    sync(&tree)?;
    quietly(git(&tree).arg("apply").arg(patch))?;
    say(format!("building {name}"));
    let binaries: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).chain(["migrate", "door"]).collect();
    // `--workspace` with `--bin`: dependencies get the same features as in a full build, so their compiled libraries can be
    // shared.
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--locked", "--workspace", "--features", "shared/faults"])
        .args(binaries.iter().flat_map(|name| ["--bin", name]))
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", &target)
        .env("SQLX_OFFLINE", "true")
        .status()?;
    ensure!(status.success(), "{name} does not build");
    let folder = scratch.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    for name in binaries {
        fs::hard_link(target.join("debug").join(name), folder.join(name))?;
    }
    Ok(folder)
}

/// A git command in `folder` that ignores a repository in a parent folder.
pub(crate) fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(folder).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE");
    git.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder));
    git
}

/// Makes `tree` a copy of the working tree: all tracked files, and untracked files that are not ignored. An unchanged file keeps its
/// modification time, by which cargo decides whether to recompile.
pub(crate) fn sync(tree: &Path) -> anyhow::Result<()> {
    let listed = git(&root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout)?;
    let mut wanted = BTreeSet::new();
    for path in listed.split_terminator('\0') {
        let (source, copy) = (root().join(path), tree.join(path));
        // A tracked file may be deleted.
        let Ok(content) = fs::read(&source) else { continue };
        if !fs::read(&copy).is_ok_and(|found| found == content) {
            fs::create_dir_all(copy.parent().unwrap_or(tree))?;
            fs::write(&copy, content)?;
        }
        wanted.insert(copy);
    }
    prune(tree, &wanted)
}

/// Deletes every file under `folder` that is not in `wanted`, and then empty folders.
fn prune(folder: &Path, wanted: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            prune(&path, wanted)?;
            // Fails if the folder is not empty.
            let _ = fs::remove_dir(&path);
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Reuses cargo's output for the working tree. Compiled libraries become hard links, because rustc replaces them and never writes
/// into them. Cargo's own small files become copies, because cargo writes into them.
fn share_dependencies(target: &Path) -> anyhow::Result<()> {
    let built = target_dir().join("debug");
    fs::create_dir_all(target)?;
    quietly(Command::new("cp").arg("-a").args([built.join(".fingerprint"), built.join("build")]).arg(target))?;
    quietly(Command::new("cp").arg("-al").arg(built.join("deps")).arg(target))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncing_copies_only_files_that_differ_from_the_working_tree() {
        let tree = std::env::temp_dir().join(format!("punctual-sync-{}", std::process::id()));
        sync(&tree).unwrap();
        let (kept, changed) = (tree.join("Cargo.lock"), tree.join("Cargo.toml"));
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let times = (time(&kept), time(&changed));
        fs::write(&changed, "a patch").unwrap();
        fs::create_dir(tree.join("new")).unwrap();
        fs::write(tree.join("new/file"), "a patch").unwrap();

        sync(&tree).unwrap();

        assert_eq!(fs::read(&changed).unwrap(), fs::read(root().join("Cargo.toml")).unwrap());
        assert_eq!(time(&kept), times.0);
        assert!(time(&changed) > times.1);
        assert!(!tree.join("new").exists());
        assert!(!tree.join("target").exists() && !tree.join(".dev").exists());
        fs::remove_dir_all(tree).unwrap();
    }
}
