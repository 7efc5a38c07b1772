//! Crash points: places where a test can make a process die, as from `kill -9`.
//!
//! `CRASH_POINTS` names a folder. A process that passes a [`crash`] point while the folder holds a file of that name removes the
//! file and aborts, without unwinding. The feature `faults` turns this on; nothing that is deployed has it.

#[cfg(all(feature = "faults", not(debug_assertions)))]
compile_error!("the feature `faults` lets a file kill the process: it is for test builds, never for a release");

/// Every point. Each is named exactly once in the code.
pub const POINTS: &[&str] = &[
    "command-before-commit",
    "command-committed",
    "event-before-claim",
    "event-claimed",
    "event-committed",
    "outbox-before-publish",
    "outbox-published",
    "outbox-marked",
    "job-armed",
    "job-disarmed",
    "reminder-before-commit",
    "reminder-fired",
    "delivery-begun",
    "delivery-at-the-dot",
    "delivery-accepted",
    "delivery-recorded",
    "successor-made",
    "repair-midway",
    "letter-before-commit",
    "letter-stored",
];

/// Aborts the process if a test has armed this point.
#[cfg(feature = "faults")]
pub fn crash(point: &'static str) {
    static FOLDER: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("CRASH_POINTS").map(Into::into));
    debug_assert!(POINTS.contains(&point), "{point} is not listed");
    // Of several processes at the same point, one removes the file.
    if FOLDER.as_ref().is_some_and(|folder| std::fs::remove_file(folder.join(point)).is_ok()) {
        std::process::abort();
    }
}

/// Does nothing: the feature `faults` is off.
#[cfg(not(feature = "faults"))]
pub const fn crash(_: &'static str) {}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

    /// The arguments of `word("…")` in the sources below a folder.
    fn named(word: &str, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                named(word, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let call = format!("{word}(\"");
                let calls = text.split(call.as_str()).skip(1);
                found.extend(calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_point_is_listed_and_is_in_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let mut found = BTreeSet::new();
        for folder in ["shared/src", "functions"] {
            named("crash", &root.join(folder), &mut found);
        }
        assert_eq!(found, super::POINTS.iter().map(|point| (*point).to_owned()).collect());
    }

    /// Compiles this file alone, and returns what rustc says where it fails.
    fn compile(feature: &str, debug_assertions: &str) -> Result<(), String> {
        let out = env::temp_dir().join(format!("punctual-faults-{}", std::process::id()));
        let rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--cfg", feature, "-C", debug_assertions])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/faults.rs"))
            .arg("-o")
            .arg(&out)
            .output()
            .expect("rustc");
        let _ = fs::remove_file(out);
        if rustc.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&rustc.stderr).into_owned()) }
    }

    #[test]
    fn a_release_build_refuses_crash_points() {
        let (release, test) = ("debug-assertions=off", "debug-assertions=on");
        assert_eq!(compile("feature=\"faults\"", test), Ok(()));
        assert_eq!(compile("feature=\"another\"", release), Ok(()));
        let refused = compile("feature=\"faults\"", release).expect_err("compiled");
        assert!(refused.contains("never for a release"), "{refused}");
    }
}
