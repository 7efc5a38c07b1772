//! Small disks for PostgreSQL and Kafka that a test can fill.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
};

use anyhow::ensure;

use super::Topology;
use crate::{dev, progress::quietly, tools};

/// The folders of a run that are mounted as small disks.
pub(super) const DISKS: [&str; 2] = ["pg", "kafka"];
const BALLAST: &str = "ballast";

/// Mounts the small disks, empty.
pub(super) fn mount(run: &Path, megabytes: u32) -> anyhow::Result<()> {
    ensure!(tools::is_root(), "only root can mount a small disk");
    for disk in DISKS {
        let dir = run.join(disk);
        fs::create_dir_all(&dir)?;
        let size = format!("size={megabytes}m,mode=0755");
        quietly(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "punctual"]).arg(&dir))?;
    }
    Ok(())
}

/// Unmounts the small disks; their content is lost.
pub(super) fn unmount(run: &Path) {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for dir in DISKS.map(|disk| run.join(disk)) {
        let is_it = |line: &str| line.split(' ').nth(1) == dir.to_str();
        for _ in mounts.lines().filter(|line| is_it(line)) {
            let _ = quietly(Command::new("umount").arg("-l").arg(&dir));
        }
    }
}

impl Topology {
    /// Fills the disk of PostgreSQL (`pg`) or `kafka` to the last byte, until [`Topology::empty_disk`].
    pub fn fill_disk(&self, disk: &str) -> anyhow::Result<()> {
        ensure!(self.options.small_disks.is_some() && DISKS.contains(&disk), "{disk} has no small disk");
        let mut ballast = File::create(self.disk(disk).join(BALLAST))?;
        let chunk = vec![0; 1 << 20];
        let mut size = chunk.len();
        while size > 0 {
            if ballast.write_all(&chunk[..size]).is_err() {
                size /= 2;
            }
        }
        Ok(())
    }

    /// Undoes [`Topology::fill_disk`].
    pub fn empty_disk(&self, disk: &str) {
        let _ = fs::remove_file(self.disk(disk).join(BALLAST));
    }

    fn disk(&self, disk: &str) -> std::path::PathBuf {
        dev().join(&self.options.name).join(disk)
    }
}
